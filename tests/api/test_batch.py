import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from deployments.progress import Progress
from models.detectors.catalogue import read_catalogue
from models.errors import CorruptMedia, Overloaded
from models.types import Verdict
from serve_app.asking import Ask
from serve_app.auth import digest
from serve_app.database import Database, DatabaseUnavailable
from serve_app.history import History
from serve_app.http import create_http
from serve_app.routes.batch import AT_ONCE
from serve_app.settings import Settings
from serve_app.tables import BatchRow
from serve_app.uploads import Upload
from tests.api.conftest import KEY, MAX_UPLOAD_BYTES, FakeService, assert_problem, verdict

FAILURES: dict[bytes, Exception] = {
    b"corrupt": CorruptMedia("The file cannot be decoded."),
    b"busy": Overloaded("Too much to do."),
    b"broken": RuntimeError("a secret"),
}


def answered(upload: Upload, model: str) -> Verdict:
    upload.file.seek(0)
    if failure := FAILURES.get(upload.file.read()):
        raise failure
    return verdict(upload, model)


def sent(*contents: bytes, field: str = "files") -> list[tuple[str, tuple[str, bytes]]]:
    return [(field, (f"{index}.bin", content)) for index, content in enumerate(contents)]


def batches(settings: Settings) -> list[BatchRow]:
    async def read() -> list[BatchRow]:
        database = Database(settings.database_url)
        async with database.transaction() as session:
            rows = list(await session.scalars(select(BatchRow)))
        await database.close()
        return rows

    return asyncio.run(read())


def test_every_file_is_answered_in_the_order_sent(client: TestClient) -> None:
    response = client.post("/analyze/batch?model=mobilenet-sbi-v1", files=sent(b"one", b"two", b"three"))
    body = response.json()
    assert response.status_code == 200, response.text
    assert (body["total"], body["successful"], body["failed"]) == (3, 3, 0)
    assert [(result["index"], result["filename"], result["status"]) for result in body["results"]] == [
        (0, "0.bin", 200),
        (1, "1.bin", 200),
        (2, "2.bin", 200),
    ]
    sizes = [result["analysis"]["media"]["size_bytes"] for result in body["results"]]
    assert sizes == [3, 3, 5]
    assert all(result["id"] == result["analysis"]["id"] for result in body["results"])
    assert body["results"][0]["analysis"]["model"] == "mobilenet-sbi-v1"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"corrupt", 422, "corrupt_media"),
        (b"busy", 503, "busy"),
        (b"broken", 500, "internal_error"),
        (b"x" * (MAX_UPLOAD_BYTES + 1), 413, "body_too_large"),
    ],
)
def test_one_bad_file_fails_alone_with_its_own_problem(
    client: TestClient, service: FakeService, content: bytes, status: int, code: str
) -> None:
    service.answer = answered
    body = client.post("/analyze/batch", files=sent(b"good", content, b"fine")).json()
    assert (body["total"], body["successful"], body["failed"]) == (3, 2, 1)
    bad = body["results"][1]
    assert (bad["status"], bad["problem"]["status"], bad["problem"]["code"]) == (status, status, code)
    assert (bad["id"], bad["analysis"]) == (None, None)
    assert "a secret" not in str(body)
    assert [body["results"][at]["problem"] for at in (0, 2)] == [None, None]


@pytest.mark.parametrize("field", ["files", "file", "video", "media", "images", "image", "audio"])
def test_the_files_may_be_in_any_of_the_usual_fields(client: TestClient, field: str) -> None:
    assert client.post("/analyze/batch", files=sent(b"one", b"two", field=field)).json()["successful"] == 2


def test_the_batch_is_recorded(client: TestClient, service: FakeService, settings: Settings) -> None:
    service.answer = answered
    body = client.post("/analyze/batch", files=sent(b"good", b"corrupt")).json()
    (row,) = batches(settings)
    assert (row.id, row.owner, row.total, row.successful, row.failed) == (body["id"], "operator", 2, 1, 1)


def test_verdicts_are_answered_though_the_batch_cannot_be_recorded(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("The database does not answer.")

    monkeypatch.setattr(History, "record_batch", away)
    body = client.post("/analyze/batch", files=sent(b"one")).json()
    assert (body["id"], body["successful"]) == ("", 1)


def test_more_files_than_a_batch_may_have_are_400(client: TestClient, settings: Settings) -> None:
    files = sent(*[b"x"] * (settings.max_batch_files + 1))
    assert_problem(client.post("/analyze/batch", files=files), 400, "too_many_files")


def test_a_batch_without_files_is_400(client: TestClient) -> None:
    body = assert_problem(client.post("/analyze/batch", files={"model": (None, "ensemble")}), 400, "missing_file")
    assert "'files'" in body["detail"]


def test_an_unknown_model_fails_the_whole_batch_before_any_work(client: TestClient, service: FakeService) -> None:
    assert_problem(client.post("/analyze/batch?model=nope", files=sent(b"x")), 404, "unknown_model")
    assert_problem(
        client.post("/analyze/batch", files=[*sent(b"x"), ("model", (None, b"nope"))]),
        404,
        "unknown_model",
    )
    assert service.received == []


class CountingService(FakeService):
    """Answers when `AT_ONCE` analyses have come together, and notes how many ran at most."""

    def __init__(self) -> None:
        super().__init__()
        self.together = asyncio.Barrier(AT_ONCE)
        self.running = self.most = 0

    async def analyze(self, upload: Upload, ask: Ask, watch: Callable[[Progress], None] | None = None) -> Verdict:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.together.wait()
        self.running -= 1
        return await super().analyze(upload, ask, watch)


class EndlessService(FakeService):
    """Never answers for one file."""

    async def analyze(self, upload: Upload, ask: Ask, watch: Callable[[Progress], None] | None = None) -> Verdict:
        if upload.file.read() == b"endless":
            await asyncio.Event().wait()
        upload.file.seek(0)
        return await super().analyze(upload, ask, watch)


def counted(service: FakeService, settings: Settings, *contents: bytes) -> dict[str, Any]:
    with TestClient(create_http(service, settings, read_catalogue(), digest(KEY))) as client:
        body: dict[str, Any] = client.post("/analyze/batch", files=sent(*contents), headers={"X-API-Key": KEY}).json()
    return body


def test_only_some_files_of_a_batch_are_analysed_at_once(settings: Settings) -> None:
    service = CountingService()
    assert counted(service, settings, *[bytes([n]) for n in range(3 * AT_ONCE)])["successful"] == 12
    assert service.most == AT_ONCE


def test_a_file_that_is_not_done_in_time_fails_alone(settings: Settings) -> None:
    service = EndlessService()
    impatient = settings.model_copy(update={"request_timeout_s": 0.3})
    body = counted(service, impatient, b"good", b"endless")
    assert [result["status"] for result in body["results"]] == [200, 504]
    assert body["results"][1]["problem"]["code"] == "analysis_timeout"
