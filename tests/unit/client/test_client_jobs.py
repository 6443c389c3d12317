"""Jobs, by either client, against a service that is played."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from serve_app.client import AsyncClient, Client, JobProgress, errors
from tests.unit.client.service import JOB_ID, Played, job

SSE = {"Content-Type": "text/event-stream; charset=utf-8"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.client.following.FIRST_PAUSE_S", 0.001)


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Gives some text, then the connection is lost."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __iter__(self) -> Iterator[bytes]:
        yield self._text.encode()
        raise httpx.ReadError("lost")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._text.encode()
        raise httpx.ReadError("lost")


def event(number: int, name: str, **data: Any) -> str:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


class Service:
    """A job whose streams are given one after the other; it has ended with the last."""

    def __init__(self, *streams: str | Broken | httpx.Response, states: tuple[dict[str, Any], ...] = ()) -> None:
        self.streams, self.states = list(streams), list(states)
        self.resumed: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            left = self.states.pop(0) if self.states else job("running", 0.5) if self.streams else job("done", 1.0)
            return httpx.Response(200, json=left)
        self.resumed.append(request.headers.get("last-event-id"))
        found = self.streams.pop(0)
        if isinstance(found, httpx.Response):
            return found
        given: dict[str, Any] = {"stream": found} if isinstance(found, Broken) else {"content": found.encode()}
        return httpx.Response(200, headers=SSE, **given)


def waited(played: Played, service: Any, timeout_s: float | None = None) -> tuple[Any, list[JobProgress]]:
    heard: list[JobProgress] = []

    def program(client: Client) -> Any:
        return client.job(JOB_ID).wait(heard.append, timeout_s)

    async def asynchronous(client: AsyncClient) -> Any:
        return await (await client.job(JOB_ID)).wait(heard.append, timeout_s)

    return played.run(service, program, asynchronous), heard


def test_waiting_tells_every_step_and_gives_the_end(played: Played) -> None:
    text = (
        "retry: 1000\n\n: still at work\n\n"
        + event(1, "state", state="running", stage="waiting", fraction=0.0)
        + event(2, "progress", state="running", stage="extracting", fraction=0.2, position=0)
        + event(3, "progress", state="running", stage="extracting", fraction=0.2, position=0)
        + event(4, "end", state="done", stage="done", fraction=1.0)
    )
    ended, heard = waited(played, Service(text))
    assert (ended.state, ended.fraction) == ("done", 1.0)
    assert [(now.state, now.stage, now.fraction, now.position) for now in heard[:3]] == [
        ("running", "waiting", 0.0, None),
        ("running", "extracting", 0.2, 0),
        ("done", "done", 1.0, None),
    ]


def test_a_stream_that_breaks_off_is_taken_up_where_it_was(played: Played) -> None:
    first = Broken(event(7, "progress", state="running", stage="extracting", fraction=0.2) + "id: 8\nevent: prog")
    second = event(9, "end", state="done", stage="done", fraction=1.0)
    service = Service(first, second)
    ended, heard = waited(played, service)
    assert ended.state == "done"
    assert service.resumed == [None, "7"]
    assert [now.fraction for now in heard] == sorted(now.fraction for now in heard)


@pytest.mark.parametrize(
    "refusal",
    [
        {"status_code": 404, "text": "no such route"},
        {"status_code": 200, "html": "a proxy's page"},
        {"status_code": 406, "json": {"code": "not_acceptable", "detail": "no"}},
    ],
    ids=["absent", "other", "refused"],
)
def test_without_events_the_job_is_asked_for(played: Played, refusal: dict[str, Any]) -> None:
    states = tuple(job("running", fraction) for fraction in (0.0, 0.1, 0.6))
    service = Service(httpx.Response(**refusal), states=states)
    ended, heard = waited(played, service)
    assert ended.state == "done"
    assert [now.fraction for now in heard] == [0.1, 0.6, 1.0]
    assert len(service.resumed) == 1


def test_waiting_no_longer_than_asked_leaves_the_job_alone(played: Played) -> None:
    streams = [event(1, "progress", state="running", stage="extracting", fraction=0.2)] * 2000
    with pytest.raises(TimeoutError, match=r"job_1 is running at 50% after 0.05 s"):
        waited(played, Service(*streams), 0.05)


def test_a_job_that_is_erased_meanwhile_is_not_found(played: Played) -> None:
    gone = httpx.Response(404, json={"code": "unknown_job", "detail": "There is no job."})
    answers = iter([httpx.Response(200, json=job()), gone, gone])
    with pytest.raises(errors.NotFound):
        waited(played, lambda _: next(answers))


def test_a_job_is_sent_with_what_is_asked(played: Played) -> None:
    sent: list[httpx.Request] = []

    def service(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(202, json=job())

    how: dict[str, Any] = {"visualize": True, "webhook_url": "https://me/hook", "webhook_secret": "whsec_x"}

    async def asynchronous(client: AsyncClient) -> str:
        return (await client.submit([b"one", b"two"], "cascade", **how)).id

    assert (
        played.run(service, lambda client: client.submit([b"one", b"two"], "cascade", **how).id, asynchronous) == JOB_ID
    )
    body = sent[0].content.decode()
    for name, value in {**how, "model": "cascade", "visualize": "true"}.items():
        assert f'name="{name}"\r\n\r\n{value}\r\n' in body
    assert body.count("filename=") == 2
    assert body.index("one") < body.index("two")
    assert sent[0].headers["idempotency-key"]


def test_media_that_is_elsewhere_is_sent_as_json(played: Played) -> None:
    sent: list[Any] = []

    def service(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(202, json=job())

    how: dict[str, Any] = {"urls": ["https://there/a.mp4"], "webhook_url": "https://me", "webhook_secret": "whsec_x"}

    async def asynchronous(client: AsyncClient) -> str:
        return (await client.submit(model="cascade", **how)).id

    played.run(service, lambda client: client.submit(model="cascade", **how).id, asynchronous)
    assert sent == [
        {
            "model": "cascade",
            "explain": False,
            "urls": ["https://there/a.mp4"],
            "webhook": {"url": "https://me", "secret": "whsec_x"},
        }
    ]


def test_cancelling_gives_the_cancelled_job(played: Played) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=job("cancelled" if request.method == "DELETE" else "running"))

    async def asynchronous(client: AsyncClient) -> str:
        return (await (await client.job(JOB_ID)).cancel()).state

    assert played.run(service, lambda client: client.job(JOB_ID).cancel().state, asynchronous) == "cancelled"


def test_a_list_goes_on_over_its_pages(played: Played) -> None:
    asked: list[dict[str, str]] = []

    def service(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        cursor = request.url.params.get("cursor", "0")
        following = {"0": "a", "a": "b"}.get(cursor)
        return httpx.Response(200, json={"items": [job(id=f"{cursor}{i}") for i in (1, 2)], "next_cursor": following})

    async def asynchronous(client: AsyncClient) -> list[str]:
        return [found.id async for found in client.jobs("done")]

    found = played.run(service, lambda client: [found.id for found in client.jobs("done")], asynchronous)
    assert found == ["01", "02", "a1", "a2", "b1", "b2"]
    assert asked == [{"state": "done"}, {"state": "done", "cursor": "a"}, {"state": "done", "cursor": "b"}]


def test_media_beside_media_that_is_elsewhere_is_refused_and_not_left_out(played: Played) -> None:
    async def asynchronous(client: AsyncClient) -> None:
        await client.submit(b"media", uploads=["upl_1"])

    with pytest.raises(ValueError, match="either media, or urls and uploads"):
        played.run(
            lambda _: httpx.Response(202, json=job()),
            lambda client: client.submit(b"media", uploads=["upl_1"]),
            asynchronous,
        )
