"""`/v1/jobs` over HTTP, without a runner: what is kept, told and refused."""

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, select, update

from serve_app.artifacts import Artifacts, StorageFull
from serve_app.job_queue import JobQueue
from serve_app.jobs import Jobs
from serve_app.retention import Retention
from serve_app.schemas import JobBody
from serve_app.settings import Settings
from serve_app.tables import IdempotentRow, UploadRow
from tests.api.conftest import MAX_UPLOAD_BYTES, assert_problem

SECRET = "whsec_" + base64.b64encode(b"0" * 24).decode()


def post(client: TestClient, *contents: bytes, **form: str) -> Any:
    files = [("files", (f"{i}.mp4", content)) for i, content in enumerate(contents)]
    return client.post("/v1/jobs", files=files, data=form)


def made(client: TestClient, *contents: bytes, **form: str) -> JobBody:
    response = post(client, *(contents or (b"film",)), **form)
    assert response.status_code == 202, response.text
    return JobBody.model_validate(response.json())


def kept(job_id: str = "") -> list[str]:
    """What is in the artefact store for a job, or for all: the last part of each name."""
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    artifacts = Artifacts(settings.artifacts_url, b"", settings.s3_options())

    async def names() -> list[str]:
        folder = f"jobs/{job_id}" if job_id else "jobs"
        return sorted([name.rpartition("/")[2] async for name in artifacts.names(folder)])

    return asyncio.run(names())


def on(client: TestClient, act: Callable[[Jobs], Any]) -> Any:
    """Something done to the jobs of a client's application, in its event loop."""
    assert client.portal
    return client.portal.call(act, client.app.state.jobs)  # type: ignore[attr-defined]


def test_a_job_is_accepted_with_its_address_and_its_media_is_kept(client: TestClient) -> None:
    response = post(client, b"one", b"two", model="ensemble")
    body = JobBody.model_validate(response.json())
    assert response.status_code == 202
    assert response.headers["location"] == body.links.self == f"/v1/jobs/{body.id}"
    assert (body.state, [file.filename for file in body.files]) == ("queued", ["0.mp4", "1.mp4"])
    assert kept(body.id) == kept() == ["0", "1"]
    assert client.get(body.links.self).json() == response.json()


def test_a_body_that_is_the_media_is_a_job_of_one_file(client: TestClient) -> None:
    headers = {"Content-Type": "video/mp4"}
    body = client.post("/v1/jobs?filename=clip.mp4&visualize=true", content=b"film", headers=headers).json()
    assert [file["filename"] for file in body["files"]] == ["clip.mp4"]


def test_a_file_over_the_limit_fails_alone(client: TestClient) -> None:
    body = made(client, b"x" * (MAX_UPLOAD_BYTES + 1), b"film")
    assert [file.state for file in body.files] == ["failed", "queued"]
    assert body.files[0].error
    assert body.files[0].error.code == "body_too_large"
    assert kept(body.id) == ["1"]


def test_when_every_file_is_over_the_limit_nothing_is_kept(client: TestClient) -> None:
    assert_problem(post(client, b"x" * (MAX_UPLOAD_BYTES + 1)), 413, "body_too_large")
    assert kept() == []
    assert client.get("/v1/jobs").json()["items"] == []


def test_a_store_that_is_full_is_told_and_no_job_is_made(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> int:
        raise StorageFull("There is no room in the artefact store.")

    monkeypatch.setattr(Artifacts, "put", full)
    assert "retry-after" in post(client, b"film").headers
    assert_problem(post(client, b"film"), 507, "storage_full")
    assert client.get("/v1/jobs").json()["items"] == []


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"model": "nope"}, 404, "unknown_model"),
        ({"visualize": "perhaps"}, 422, "invalid_request"),
        ({"webhook_url": "https://example.org/"}, 422, "invalid_request"),
        ({"webhook_url": "https://example.org/", "webhook_secret": "whsec_c2hvcnQ="}, 422, "invalid_request"),
    ],
)
def test_what_is_asked_wrongly_is_refused_and_nothing_is_kept(
    client: TestClient, form: dict[str, str], status: int, code: str
) -> None:
    assert_problem(post(client, b"film", **form), status, code)
    assert kept() == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"uploads": ["upl_1", "upl_1"]}, 422, "invalid_request"),
        ({"upload": "upl_1"}, 404, "unknown_upload"),
        ({"upload": "upl_1", "wat": 1}, 422, "invalid_request"),
        ({"uploads": [f"upl_{i}" for i in range(51)]}, 400, "too_many_files"),
        ({"url": "https://example.org/clip.mp4"}, 403, "address_not_allowed"),
    ],
)
def test_json_that_says_no_job_is_refused(client: TestClient, body: dict[str, Any], status: int, code: str) -> None:
    assert_problem(client.post("/v1/jobs", json=body), status, code)


def test_json_takes_what_was_uploaded(client: TestClient) -> None:
    place = client.post("/v1/uploads", json={"filename": "clip.mp4"}).json()
    upload = place["id"]
    assert_problem(client.post("/v1/jobs", json={"upload": upload}), 409, "upload_missing")
    put: Any = httpx.put if place["url"].startswith("http") else client.put  # to the bucket, or to this service
    assert put(place["url"], content=b"film").status_code < 300
    asked = {"upload": upload, "webhook": {"url": "https://example.org/", "secret": SECRET}}
    body = client.post("/v1/jobs", json=asked).json()
    assert body["webhook"]
    assert_problem(client.post("/v1/jobs", json=asked), 404, "unknown_upload")


def test_a_job_leaves_no_reservation_behind(client: TestClient) -> None:
    made(client)

    async def left(jobs: Jobs) -> list[UploadRow]:
        async with jobs._database.transaction() as session:
            return list(await session.scalars(select(UploadRow)))

    assert on(client, left) == []


def test_jobs_are_listed_newest_first_in_pages(client: TestClient) -> None:
    ids = [made(client).id for _ in range(3)]
    first = client.get("/v1/jobs", params={"limit": 2})
    assert [job["id"] for job in first.json()["items"]] == [ids[2], ids[1]]
    assert first.links["next"]["url"].startswith("/v1/jobs?limit=2&cursor=")
    rest = client.get("/v1/jobs", params={"cursor": first.json()["next_cursor"]}).json()
    assert ([job["id"] for job in rest["items"]], rest["next_cursor"]) == ([ids[0]], None)
    assert client.get("/v1/jobs", params={"state": "done"}).json()["items"] == []


@pytest.mark.parametrize("path", ["/v1/jobs?cursor=x", "/v1/jobs?limit=0", "/v1/jobs?state=lost"])
def test_a_wrong_parameter_is_named(client: TestClient, path: str) -> None:
    assert_problem(client.get(path), 422, "invalid_request")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("GET", "/events")])
def test_a_job_that_is_not_there_is_404(client: TestClient, method: str, path: str) -> None:
    assert_problem(client.request(method, f"/v1/jobs/job_1{path}"), 404, "unknown_job")


def test_cancelling_ends_the_job_and_erases_its_media(client: TestClient) -> None:
    job = made(client)
    body = client.delete(f"/v1/jobs/{job.id}").json()
    assert (body["state"], body["files"][0]["state"]) == ("cancelled", "cancelled")
    assert kept() == []
    assert client.delete(f"/v1/jobs/{job.id}").json() == body


def events_in(text: str) -> list[tuple[str, int, dict[str, Any]]]:
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return [(block["event"], int(block["id"]), json.loads(block["data"])) for block in blocks if "event" in block]


def test_events_end_with_the_job_and_resume_after_the_last_that_was_seen(client: TestClient) -> None:
    job = made(client)
    client.delete(f"/v1/jobs/{job.id}")
    response = client.get(job.links.events)
    assert response.headers["content-type"].startswith("text/event-stream")
    found = events_in(response.text)
    assert [name for name, _, _ in found] == ["state", "end"]
    assert found[-1][2]["state"] == "cancelled"
    resumed = client.get(job.links.events, headers={"Last-Event-ID": str(found[0][1])})
    assert events_in(resumed.text) == found[1:]
    assert client.get(job.links.events, headers={"Last-Event-ID": str(found[-1][1])}).status_code == 204
    assert_problem(client.get(job.links.events, headers={"Last-Event-ID": "x"}), 422, "invalid_request")


def test_events_come_while_the_job_is_worked_on(client: TestClient) -> None:
    job = made(client)

    async def cancel_soon(jobs: Jobs) -> None:
        queue = JobQueue(jobs._database)
        assert await queue.claim()
        await asyncio.sleep(0.1)
        await jobs.cancel("operator", job.id)

    assert client.portal
    with client.stream("GET", job.links.events) as response:
        client.portal.start_task_soon(cancel_soon, client.app.state.jobs)  # type: ignore[attr-defined]
        assert [name for name, _, _ in events_in("".join(response.iter_text()))] == ["state", "state", "end"]


@pytest.mark.parametrize("forget", [False, True], ids=["answered", "died before its answer was kept"])
def test_a_job_sent_twice_with_one_idempotency_key_is_one_job(client: TestClient, forget: bool) -> None:
    headers = {"Idempotency-Key": "once"}
    first = client.post("/v1/jobs", files={"files": ("a.mp4", b"film")}, headers=headers)
    if forget:

        async def lose(jobs: Jobs) -> None:
            async with jobs._database.transaction() as session:
                await session.execute(delete(IdempotentRow))

        on(client, lose)
    second = client.post("/v1/jobs", files={"files": ("a.mp4", b"film")}, headers=headers)
    assert (second.status_code, second.json()["id"]) == (202, first.json()["id"])
    assert len(client.get("/v1/jobs").json()["items"]) == 1


def test_json_with_an_idempotency_key_that_was_used_otherwise_is_refused(client: TestClient) -> None:
    headers = {"Idempotency-Key": "once"}
    assert_problem(client.post("/v1/jobs", json={"upload": "upl_1"}, headers=headers), 404, "unknown_upload")
    other = client.post("/v1/jobs", json={"upload": "upl_2"}, headers=headers)
    assert_problem(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize("url", ["http://example.org/", "ftp://example.org/", "https://a:b@example.org/", "x"])
def test_a_webhook_that_is_not_https_is_refused(client: TestClient, url: str) -> None:
    assert_problem(post(client, b"film", webhook_url=url, webhook_secret=SECRET), 403, "address_not_allowed")


def test_a_try_that_was_thought_dead_and_comes_late_answers_the_job_and_erases_nothing_of_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Idempotency-Key": "once"}
    files = {"files": ("a.mp4", b"film")}
    first = client.post("/v1/jobs", files=files, headers=headers).json()
    whole = Jobs.existing
    looks = 0

    async def too_early(jobs: Jobs, owner: str, job_id: str) -> dict[str, Any] | None:
        nonlocal looks
        looks += 1
        return None if looks == 1 else await whole(jobs, owner, job_id)

    async def lose(jobs: Jobs) -> None:
        async with jobs._database.transaction() as session:
            await session.execute(delete(IdempotentRow))

    on(client, lose)
    monkeypatch.setattr(Jobs, "existing", too_early)
    late = client.post("/v1/jobs", files=files, headers=headers)
    assert (late.status_code, late.json()["id"]) == (202, first["id"])
    assert kept(first["id"]) == ["0"]


def test_what_a_try_that_died_left_behind_is_swept_without_the_media_of_the_next(client: TestClient) -> None:
    headers = {"Idempotency-Key": "once"}
    files = {"files": ("a.mp4", b"film")}
    made_before = Jobs.create

    async def die(*_: object) -> dict[str, Any]:
        raise StorageFull("There is no room.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Jobs, "create", die)
        assert client.post("/v1/jobs", files=files, headers=headers).status_code == 507
    assert Jobs.create is made_before
    job = client.post("/v1/jobs", files=files, headers=headers).json()

    async def sweep(jobs: Jobs) -> None:
        async with jobs._database.transaction() as session:
            await session.execute(update(UploadRow).values(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
        settings = Settings(_env_file=None)  # type: ignore[call-arg]
        artifacts = Artifacts(settings.artifacts_url, b"", settings.s3_options())
        await Retention(jobs._database, artifacts, settings).sweep()

    on(client, sweep)
    assert kept(job["id"]) == ["0"]
