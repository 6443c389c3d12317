from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from models.errors import CorruptMedia
from models.types import Verdict
from serve_app.uploads import Upload
from tests.api.conftest import MAX_UPLOAD_BYTES, FakeService, verdict

CLIP = {"video": ("clip.mp4", b"bytes of a clip", "video/mp4")}


def undetermined(upload: Upload, model: str) -> Verdict:
    found = verdict(upload, model)
    return replace(found, verdict="UNDETERMINED", p_fake=0.5, reason="score spans the threshold: 0.5")


@pytest.mark.parametrize(("label", "answer"), [("FAKE", True), ("REAL", False)])
def test_a_decided_verdict_is_the_boolean_alone(
    client: TestClient, service: FakeService, label: str, answer: bool
) -> None:
    service.answer = lambda upload, model: replace(verdict(upload, model), verdict=label)  # type: ignore[arg-type]
    response = client.post("/detect_deepfake", files=CLIP)
    assert (response.status_code, response.json()) == (200, {"is_deepfake": answer})


def test_an_undetermined_verdict_is_an_error_with_its_reason(client: TestClient, service: FakeService) -> None:
    service.answer = undetermined
    response = client.post("/detect_deepfake", files=CLIP)
    assert response.status_code == 422
    assert response.json()["reason"] == "score spans the threshold: 0.5"
    assert "is_deepfake" not in response.json()


@pytest.mark.parametrize("files", [{"clip": ("clip.mp4", b"x")}, {"note": (None, "x")}])
def test_a_form_without_a_video_is_told_so_in_the_services_words(client: TestClient, files: dict[str, object]) -> None:
    response = client.post("/detect_deepfake", files=files)  # type: ignore[arg-type]
    assert (response.status_code, response.json()) == (400, {"error": "No video file provided"})


def test_a_file_over_the_cap_is_told_so_in_the_services_words(client: TestClient) -> None:
    response = client.post("/detect_deepfake", files={"video": ("clip.mp4", b"x" * (MAX_UPLOAD_BYTES + 1))})
    assert (response.status_code, response.json()) == (413, {"error": "File is too large"})


def test_damaged_media_is_an_error_of_the_client(client: TestClient, service: FakeService) -> None:
    service.failure = CorruptMedia("nothing could be decoded.")
    response = client.post("/detect_deepfake", files=CLIP)
    assert (response.status_code, response.json()) == (422, {"error": "nothing could be decoded."})


def test_a_missing_key_is_refused_in_the_services_shape(anonymous: TestClient) -> None:
    anonymous.headers.pop("X-API-Key", None)
    response = anonymous.post("/detect_deepfake", files=CLIP)
    assert (response.status_code, response.json()) == (401, {"error": "Invalid or missing API Key"})
    assert response.headers["www-authenticate"]


def test_an_unexpected_failure_comes_in_the_services_shape(client: TestClient, service: FakeService) -> None:
    service.failure = RuntimeError("secret")
    response = client.post("/detect_deepfake", files=CLIP)
    assert (response.status_code, response.json()) == (500, {"error": "The service failed."})
