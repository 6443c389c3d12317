"""Media that is put straight into the artefact store."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from models.detectors.catalogue import read_catalogue
from serve_app.artifacts import Artifacts, StorageUnavailable
from serve_app.auth import digest
from serve_app.http import create_http
from serve_app.routes.uploads import capped
from serve_app.settings import Settings
from serve_app.upload_errors import UploadMissing, UploadTooLarge
from serve_app.uploads_direct import arrived
from tests.api.conftest import KEY, MAX_UPLOAD_BYTES, FakeService, assert_problem


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """These addresses are of this service, and so of files in a folder, whatever the suite runs on."""
    return settings.model_copy(update={"artifacts_url": str(tmp_path / "files")})


@pytest.fixture
def of_both_kinds(
    service: FakeService, settings: Settings, artifacts_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    monkeypatch.setenv("UNMASK_ARTIFACTS_URL", artifacts_url)
    monkeypatch.setenv("UNMASK_DATABASE_URL", settings.database_url)
    chosen = Settings(_env_file=None)  # type: ignore[call-arg]
    app = create_http(service, chosen, read_catalogue(), digest(KEY))
    with TestClient(app, raise_server_exceptions=False, headers={"X-API-Key": KEY}) as client:
        yield client


def place(client: TestClient, filename: str = "clip.mp4") -> dict[str, Any]:
    answer = client.post("/v1/uploads", json={"filename": filename})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def put(client: TestClient, url: str, content: bytes) -> Any:
    if url.startswith("http"):
        return httpx.put(url, content=content)
    del client.headers["X-API-Key"]
    try:
        return client.put(url, content=content)
    finally:
        client.headers["X-API-Key"] = KEY


def kept(client: TestClient, place_id: str) -> bytes | None:
    artifacts: Artifacts = client.app.state.artifacts  # type: ignore[attr-defined]

    async def read() -> bytes | None:
        name = f"uploads/{place_id}"
        return await artifacts.read(name) if await artifacts.exists(name) else None

    return asyncio.run(read())


def test_media_goes_to_its_place_without_a_key(of_both_kinds: TestClient) -> None:
    given = place(of_both_kinds)
    assert given["method"] == "PUT"
    assert put(of_both_kinds, given["url"], b"film").is_success
    assert kept(of_both_kinds, given["id"]) == b"film"


def test_a_place_tells_its_end_in_utc(client: TestClient) -> None:
    expires = datetime.fromisoformat(place(client)["expires_at"])
    assert expires.tzinfo == UTC
    assert timedelta(minutes=59) < expires - datetime.now(UTC) < timedelta(minutes=61)


def test_a_hostile_file_name_is_cut_to_its_last_part(client: TestClient) -> None:
    assert place(client, "../../etc/pass\nwd.mp4")["filename"] == "passwd.mp4"


def test_a_place_that_is_given_back_is_empty_and_takes_nothing_more(of_both_kinds: TestClient) -> None:
    given = place(of_both_kinds)
    put(of_both_kinds, given["url"], b"film")
    assert of_both_kinds.delete(f"/v1/uploads/{given['id']}").status_code == 204
    assert kept(of_both_kinds, given["id"]) is None
    if not given["url"].startswith("http"):
        assert_problem(put(of_both_kinds, given["url"], b"film"), 404, "unknown_upload")


def test_media_over_the_limit_is_refused_while_it_streams_and_not_kept(client: TestClient) -> None:
    given = place(client)
    pieces = (bytes(100_000) for _ in range(MAX_UPLOAD_BYTES // 100_000 + 1))
    answer = client.put(given["url"], content=pieces)
    assert_problem(answer, 413, "body_too_large")
    assert kept(client, given["id"]) is None


def test_media_that_says_it_is_over_the_limit_is_refused_at_once(client: TestClient) -> None:
    answer = client.put(place(client)["url"], content=b"x", headers={"Content-Length": str(MAX_UPLOAD_BYTES + 1)})
    assert_problem(answer, 413, "body_too_large")


def test_a_link_to_read_is_no_place_to_write(client: TestClient) -> None:
    artifacts: Artifacts = client.app.state.artifacts  # type: ignore[attr-defined]
    link = asyncio.run(artifacts.link("visual/ana_1.mp4", "", 60))
    assert_problem(client.put(link, content=b"x"), 404, "wrong_address")
    assert_problem(client.get(place(client)["url"]), 404, "wrong_address")


def test_a_place_needs_a_key(anonymous: TestClient) -> None:
    assert_problem(anonymous.post("/v1/uploads", json={}), 401, "missing_key")


@pytest.mark.parametrize("upload_id", ["upl_missing", "%00", "x" * 500])
def test_a_place_that_is_not_there_cannot_be_given_back(client: TestClient, upload_id: str) -> None:
    assert_problem(client.delete(f"/v1/uploads/{upload_id}"), 404, "unknown_upload")


def test_what_was_put_is_measured_when_it_is_taken(artifacts: Artifacts) -> None:
    async def take() -> int:
        with pytest.raises(UploadMissing):
            await arrived(artifacts, "uploads/a", 10)
        await artifacts.put("uploads/a", bytes(10))
        size_bytes = await arrived(artifacts, "uploads/a", 10)
        await artifacts.put("uploads/a", bytes(11))
        with pytest.raises(UploadTooLarge):
            await arrived(artifacts, "uploads/a", 10)
        assert not await artifacts.exists("uploads/a")
        return size_bytes

    assert asyncio.run(take()) == 10


def test_chunks_pass_up_to_the_cap() -> None:
    async def pass_on() -> list[bytes]:
        async def chunks() -> Any:
            yield b"1234"
            yield b"5678"

        return [chunk async for chunk in capped(chunks(), 8)]

    assert asyncio.run(pass_on()) == [b"1234", b"5678"]


def test_a_place_is_not_forgotten_while_the_store_is_away(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    given = place(client)
    put(client, given["url"], b"film")
    artifacts: Artifacts = client.app.state.artifacts  # type: ignore[attr-defined]

    async def away(*_: str) -> None:
        raise StorageUnavailable("The artefact store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "delete", away)
        answer = client.delete(f"/v1/uploads/{given['id']}")
    assert_problem(answer, 503, "storage_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert client.delete(f"/v1/uploads/{given['id']}").status_code == 204
    assert kept(client, given["id"]) is None
