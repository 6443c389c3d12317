"""Both clients against the application itself: every test runs with either."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import uvicorn
from fastapi.testclient import TestClient

from models import errors as causes
from serve_app.client import AsyncClient, Client, Retries, ServiceError, errors
from serve_app.schemas import AnalyzeBody, DetailedBody, RecordBody
from tests.api.conftest import KEY, MAX_UPLOAD_BYTES, FakeService

Ask = Callable[..., Any]
FAST = Retries(first_pause_s=0.001)


@pytest.fixture
def address(anonymous: TestClient) -> Iterator[str]:
    """The application behind a real socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(anonymous.app, lifespan="off", log_level="critical", ws="none"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, address: str, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Calls a method of either client by its name."""
    monkeypatch.setattr("serve_app.errors.RETRY_AFTER_S", "0")

    async def awaited(name: str, *args: Any, key: str, **how: Any) -> Any:
        async with AsyncClient(address, key, retries=FAST) as client:
            return await getattr(client, name)(*args, **how)

    def call(name: str, *args: Any, key: str = KEY, **how: Any) -> Any:
        if request.param == "async":
            return asyncio.run(awaited(name, *args, key=key, **how))
        with Client(address, key, retries=FAST) as client:
            return getattr(client, name)(*args, **how)

    return call


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / 'клип "1".mp4'
    path.write_bytes(bytes(range(256)) * 1000)
    return path


def test_analyze_gives_the_verdict(ask: Ask, clip: Path, service: FakeService) -> None:
    result = ask("analyze", clip, "mobilenet-sbi-v1")
    assert isinstance(result, AnalyzeBody)
    assert (result.verdict, result.model) == ("FAKE", "mobilenet-sbi-v1")
    assert service.received == [clip.read_bytes()]


@pytest.mark.parametrize("kind", ["path", "name", "bytes", "file"])
def test_media_is_sent_whole_whatever_it_is_given_as(ask: Ask, clip: Path, service: FakeService, kind: str) -> None:
    with clip.open("rb") as file:
        given = {"path": clip, "name": str(clip), "bytes": clip.read_bytes(), "file": file}[kind]
        ask("analyze", given)
    assert service.received == [clip.read_bytes()]


def test_detailed_gives_figures(ask: Ask, clip: Path) -> None:
    result = ask("detailed", clip)
    assert isinstance(result, DetailedBody)
    assert result.analysis_details.frame_count == 3


def test_what_is_asked_reaches_the_service(ask: Ask, clip: Path, service: FakeService) -> None:
    ask("analyze", clip, "cascade", explain=True, fresh=True)
    asked = service.asked[0]
    assert (asked.model, asked.explain, asked.fresh) == ("cascade", True, True)


def test_upload_progress_ends_with_all_of_the_media(ask: Ask, clip: Path) -> None:
    heard: list[tuple[int, int]] = []
    ask("analyze", clip, on_progress=lambda sent, total: heard.append((sent, total)))
    assert heard[-1] == (256_000, 256_000)


def test_visualize_writes_the_drawn_file(ask: Ask, clip: Path, tmp_path: Path, service: FakeService) -> None:
    drawn = ask("visualize", clip, to=tmp_path / "drawn.mp4", heatmap=True)
    assert (tmp_path / "drawn.mp4").read_bytes() == b"first second"
    assert (drawn.verdict, drawn.p_fake, drawn.path) == ("FAKE", 0.9, tmp_path / "drawn.mp4")
    assert service.asked[0].heat


def test_visualize_into_a_folder_takes_the_services_name(ask: Ask, clip: Path, tmp_path: Path) -> None:
    drawn = ask("visualize", clip, to=tmp_path)
    assert drawn.path.parent == tmp_path
    assert drawn.path.name.endswith(".unmask.mp4")
    assert drawn.path.read_bytes() == b"first second"


@pytest.mark.parametrize("failure", [causes.CorruptMedia("cut"), causes.Overloaded("full")])
def test_visualize_leaves_nothing_behind_when_it_fails(
    ask: Ask, clip: Path, tmp_path: Path, service: FakeService, failure: Exception
) -> None:
    service.failure = failure
    with pytest.raises(ServiceError):
        ask("visualize", clip, to=tmp_path / "drawn.mp4", idempotency_key="k")
    assert list(tmp_path.glob("*drawn*")) == list(tmp_path.glob(".unmask*")) == []


def test_health_and_facts_need_no_key(ask: Ask) -> None:
    assert ask("health", key="").status == "ok"
    assert "mobilenet-sbi-v1" in ask("about", key="").available_models


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (causes.EmptyMedia("nothing"), errors.EmptyMedia),
        (causes.TooLong("an hour"), errors.MediaLimitExceeded),
        (causes.DecoderCrashed("died"), errors.DecoderCrashed),
        (causes.NotInstalled("no weights"), errors.NotInstalled),
    ],
)
def test_an_error_is_the_class_of_its_cause(
    ask: Ask, clip: Path, service: FakeService, failure: Exception, kind: type[ServiceError]
) -> None:
    service.failure = failure
    with pytest.raises(kind) as caught:
        ask("analyze", clip)
    assert str(failure) in caught.value.detail
    assert caught.value.request_id
    assert len(service.asked) == 1


def test_an_unknown_model_names_those_there_are(ask: Ask, clip: Path) -> None:
    with pytest.raises(errors.UnknownModel) as caught:
        ask("analyze", clip, "nope")
    assert "mobilenet-sbi-v1" in caught.value.available_models


def test_a_wrong_key_is_unauthenticated(ask: Ask, clip: Path) -> None:
    with pytest.raises(errors.Unauthenticated):
        ask("analyze", clip, key="wrong")


def test_a_file_over_the_limit_is_named(ask: Ask) -> None:
    with pytest.raises(errors.BodyTooLarge):
        ask("analyze", bytes(MAX_UPLOAD_BYTES + 100_000))


def test_a_file_that_is_not_there_is_an_os_error(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ask("analyze", tmp_path / "gone.mp4")


def test_a_full_service_is_asked_again(ask: Ask, clip: Path, service: FakeService) -> None:
    service.failure = causes.Overloaded("full")

    def relieve(sent: int, total: int) -> None:
        if service.asked and sent == total:
            service.failure = None

    assert ask("analyze", clip, on_progress=relieve).verdict == "FAKE"
    assert service.received == [clip.read_bytes()] * 2


def test_every_cause_has_a_class_of_its_name() -> None:
    def family(kind: type[causes.UnmaskError]) -> set[type[causes.UnmaskError]]:
        return {kind}.union(*(family(child) for child in kind.__subclasses__()))

    of_media = {kind for kind in family(causes.MediaError) if kind.__module__ == "models.errors"}
    others: list[type[causes.UnmaskError]] = [causes.UnknownModel, causes.WrongSelection]
    others += [causes.NotInstalled, causes.WeightsError, causes.Overloaded]
    for cause in (*of_media, *others):
        kind = errors.kind_of(cause.code)
        assert kind.__name__ in {parent.__name__ for parent in cause.__mro__}, cause


def test_both_clients_have_the_same_methods() -> None:
    def surface(client: type[Any]) -> dict[str, Any]:
        return {
            name: {k: v for k, v in get_type_hints(method).items() if k != "return"}
            for name, method in vars(client).items()
            if not name.startswith("_")
        }

    assert surface(Client) == surface(AsyncClient)


def test_a_request_sent_again_with_its_key_is_worked_on_once(ask: Ask, clip: Path, service: FakeService) -> None:
    first, again = (ask("analyze", clip, fresh=True, idempotency_key="one of mine") for _ in range(2))
    assert first.id == again.id != ""
    assert len(service.asked) == 1


def test_a_key_that_names_another_request_is_refused(ask: Ask, clip: Path) -> None:
    ask("analyze", clip, idempotency_key="one of mine")
    with pytest.raises(errors.IdempotencyKeyReused):
        ask("analyze", b"other", idempotency_key="one of mine")


def test_frames_are_numbered(ask: Ask, clip: Path) -> None:
    assert [frame.frame for frame in ask("frames", clip).frame_predictions] == [1, 2, 3]


def test_a_batch_has_a_result_for_every_file(ask: Ask, clip: Path, service: FakeService) -> None:
    batch = ask("batch", [clip, b"second"], "mobilenet-sbi-v1")
    assert [result.status for result in batch.results] == [200, 200]
    assert batch.results[0].filename == clip.name.replace('"', "%22")
    assert sorted(map(len, service.received)) == [6, 256_000]


def test_models_and_limits_are_told(ask: Ask) -> None:
    assert "mobilenet-sbi-v1" in [model.id for model in ask("models").models]
    assert ask("limits").requests["max_upload_bytes"] == MAX_UPLOAD_BYTES


def test_what_was_analysed_is_found_reported_exported_and_erased(ask: Ask, clip: Path, tmp_path: Path) -> None:
    made = ask("analyze", clip)
    assert ask("analysis", made.id).p_fake == made.p_fake
    assert ask("statistics", verdict="FAKE").total == 1
    report = ask("report", made.id, to=tmp_path / "report.html").read_text()
    assert "FAKE" in report
    exported = ask("export", to=tmp_path / "all.jsonl", file_format="jsonl").read_text()
    assert made.id in exported
    ask("delete", made.id)
    with pytest.raises(errors.NotFound):
        ask("analysis", made.id)


def test_history_goes_over_its_pages_to_the_end(address: str, clip: Path) -> None:
    with Client(address, KEY, retries=FAST) as client:
        made = [client.analyze(clip, fresh=True).id for _ in range(3)]
        pages = client._calls.page("/v1/analyses", RecordBody, {"limit": "2"}, "")
        first = client._carrier.run(pages)
        assert [found.id for found in first.items] == made[:0:-1]
        assert first.next_cursor
        assert [found.id for found in client.history(filename="клип")] == made[::-1]


def test_media_is_put_into_the_store_and_named_to_a_job(ask: Ask, clip: Path) -> None:
    upload = ask("upload", clip)
    job = ask("submit", uploads=[upload], model="mobilenet-sbi-v1")
    assert (job.body.state, job.body.files[0].filename) == ("queued", clip.name)
    assert ask("job", job.id).body.model == "mobilenet-sbi-v1"
