from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from models.types import Verdict
from serve_app.uploads import Upload
from tests.api.conftest import FakeService, assert_problem, verdict

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
WAV = b"RIFF\x00\x00\x00\x00WAVE" + b"samples"
MP4 = b"\x00\x00\x00\x18ftypisom" + b"boxes"
AVI = b"RIFF\x00\x00\x00\x00AVI " + b"frames"
OGG = b"OggS" + b"pages"


def of_kind(kind: str) -> object:
    def answer(upload: Upload, model: str) -> Verdict:
        found = verdict(upload, model)
        return replace(found, media=replace(found.media, kind=kind))  # type: ignore[arg-type]

    return answer


@pytest.mark.parametrize(
    ("kind", "field", "content"),
    [
        ("image", "image", PNG),
        ("image", "file", PNG),
        ("audio", "audio", WAV),
        ("audio", "media", OGG),
        ("audio", "audio", MP4),
    ],
)
def test_a_file_of_the_routes_kind_is_analysed(
    client: TestClient, service: FakeService, kind: str, field: str, content: bytes
) -> None:
    service.answer = of_kind(kind)  # type: ignore[assignment]
    response = client.post(f"/analyze/{kind}", files={field: ("name", content)})
    assert response.status_code == 200, response.text
    assert service.received == [content]


@pytest.mark.parametrize(
    ("kind", "content", "there"),
    [
        ("image", WAV, "/analyze/audio"),
        ("image", AVI, "/analyze"),
        ("audio", PNG, "/analyze/image"),
        ("audio", AVI, "/analyze"),
    ],
)
def test_a_file_that_is_of_another_kind_is_refused_before_any_work_and_told_where_to_go(
    client: TestClient, service: FakeService, kind: str, content: bytes, there: str
) -> None:
    body = assert_problem(client.post(f"/analyze/{kind}", files={kind: ("name", content)}), 415, "wrong_kind")
    assert body["suggestions"][0] == f"Send it to {there}"
    assert service.received == []


@pytest.mark.parametrize(("route", "field"), [("/analyze/image", "image"), ("/analyze/audio", "audio")])
def test_a_file_whose_tracks_tell_that_it_is_a_video_is_refused(client: TestClient, route: str, field: str) -> None:
    assert_problem(client.post(route, files={field: ("name", MP4)}), 415, "wrong_kind")


@pytest.mark.parametrize(
    ("content", "status", "code"), [(b"", 400, "empty_media"), (b"hello there", 415, "unsupported_media")]
)
def test_what_is_no_media_is_named(client: TestClient, content: bytes, status: int, code: str) -> None:
    assert_problem(client.post("/analyze/image", files={"image": ("name", content)}), status, code)


def test_a_raw_picture_is_taken(client: TestClient, service: FakeService) -> None:
    service.answer = of_kind("image")  # type: ignore[assignment]
    response = client.post("/analyze/image", content=PNG, headers={"Content-Type": "image/png"})
    assert response.json()["media"]["kind"] == "image"
