from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models.errors import CorruptMedia, Overloaded
from models.types import Finding, Label, ReasonCode, Region, TimelinePoint, Verdict
from serve_app.service import DeploymentHealth
from serve_app.uploads import Upload
from tests.api.conftest import MAX_UPLOAD_BYTES, FakeService, verdict
from tests.media import clip, gradient, sound_only, still, tone

VIDEO = {"video": ("clip.mp4", clip(2), "video/mp4")}
RECORDING = {"audio": ("note.wav", sound_only(tone(0.2), "wav", "pcm_s16le"), "audio/wav")}
SOUND = TimelinePoint(0.5, None, 0.2, "audio")


def finding(region: Region, label: Label, p_fake: float | None, code: ReasonCode = "") -> Finding:
    return Finding(region, label, p_fake, code, "why" if label == "UNDETERMINED" else "", ("some",))


def finds(service: FakeService, *findings: Finding) -> None:
    def answer(upload: Upload, model: str) -> Verdict:
        found = verdict(upload, model)
        media = replace(found.media, frames_analysed=28, audio_s=15.3)
        return replace(found, media=media, findings=findings, timeline=(*found.timeline, SOUND, SOUND))

    service.answer = answer


@pytest.mark.parametrize("slash", ["/", ""])
def test_a_video_alone_has_the_readmes_body(client: TestClient, service: FakeService, slash: str) -> None:
    finds(service, finding("face", "REAL", 0.13))
    response = client.post(f"/api/detect/video{slash}", files=VIDEO)
    body = response.json()
    assert response.status_code == 200
    assert set(body) == {"success", "file_type", "predictions", "processing_time", "timestamp"}
    assert (body["success"], body["file_type"]) == (True, "video")
    assert body["predictions"] == {
        "video": {
            "real_probability": pytest.approx(0.87),
            "fake_probability": 0.13,
            "prediction": "real",
            "confidence": pytest.approx(0.87),
            "frames_analyzed": 28,
        }
    }
    assert body["timestamp"].endswith("Z")


def test_a_video_alone_asks_only_models_that_look(client: TestClient, service: FakeService) -> None:
    finds(service, finding("face", "REAL", 0.13))
    client.post("/api/detect/video/", files=VIDEO)
    assert service.asked[0].model == "mobilenet-sbi-v1"


def test_with_audio_both_are_asked_and_combined_by_their_shares(client: TestClient, service: FakeService) -> None:
    finds(service, finding("face", "REAL", 0.13), finding("audio", "REAL", 0.08))
    body = client.post("/api/detect/video/", files=VIDEO, data={"analyze_audio": "true"}).json()
    assert service.asked[0].model == "mobilenet-sbi-v1,voice-v1"
    assert body["predictions"]["audio"]["segments_analyzed"] == 2
    assert body["predictions"]["combined"] == {
        "real_probability": pytest.approx(0.89),
        "fake_probability": pytest.approx(0.11),
        "prediction": "real",
        "confidence": pytest.approx(0.89),
    }


def test_sound_that_cannot_be_analysed_is_reported_beside_the_video(client: TestClient, service: FakeService) -> None:
    finds(service, finding("face", "FAKE", 0.9), finding("audio", "UNDETERMINED", None, "silent"))
    response = client.post("/api/detect/video/", files=VIDEO, data={"analyze_audio": "true"})
    assert response.status_code == 200
    assert set(response.json()["predictions"]) == {"video"}
    assert response.json()["audio_error"] == {
        "success": False,
        "error": "Audio appears to be silent - cannot analyze",
        "error_type": "processing_error",
    }


def test_a_video_without_a_face_is_a_processing_error(client: TestClient, service: FakeService) -> None:
    finds(service, finding("face", "UNDETERMINED", None, "no_face"))
    response = client.post("/api/detect/video/", files=VIDEO)
    assert response.status_code == 400
    assert response.json() == {
        "success": False,
        "error": "No faces detected in video - cannot analyze",
        "error_type": "processing_error",
    }


def test_a_video_between_the_bounds_is_called_neither(client: TestClient, service: FakeService) -> None:
    finds(service, finding("face", "UNDETERMINED", 0.5, "spans_threshold"))
    response = client.post("/api/detect/video/", files=VIDEO)
    assert (response.status_code, response.json()["error_type"]) == (400, "processing_error")
    assert "undetermined" in response.json()["error"]


def test_a_recording_has_the_readmes_body(client: TestClient, service: FakeService) -> None:
    finds(service, finding("audio", "REAL", 0.08))
    body = client.post("/api/detect/audio/", files=RECORDING).json()
    assert service.asked[0].model == "voice-v1"
    assert body["file_type"] == "audio"
    assert body["predictions"]["audio"] == {
        "real_probability": pytest.approx(0.92),
        "fake_probability": 0.08,
        "prediction": "real",
        "confidence": pytest.approx(0.92),
        "segments_analyzed": 2,
        "duration_seconds": 15.3,
    }


VIDEO_FORMATS = "Unsupported video format. Supported formats: MP4, AVI, MOV, WEBM"
AUDIO_FORMATS = "Unsupported audio format. Supported formats: MP3, WAV, M4A, OGG"
REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    (
        "video",
        {"video": ("a.png", still(gradient(), "png"))},
        "Unsupported video format. Supported formats: MP4, AVI, MOV, WEBM",
    ),
    (
        "video",
        {"video": ("a.txt", b"not media at all")},
        "Unsupported video format. Supported formats: MP4, AVI, MOV, WEBM",
    ),
    (
        "audio",
        {"audio": ("a.png", still(gradient(), "png"))},
        "Unsupported audio format. Supported formats: MP3, WAV, M4A, OGG",
    ),
    ("video", {"file": ("a.mp4", b"x")}, "No video file provided"),
    ("audio", {"note": (None, "x")}, "No audio file provided"),
    ("audio", {"audio": ("a.wav", b"x" * (MAX_UPLOAD_BYTES + 1))}, "Audio file too large. Maximum size: 0.2861MB"),
]


@pytest.mark.parametrize(("sense", "files", "words"), REFUSALS)
def test_what_is_refused_is_a_validation_error(
    client: TestClient, sense: str, files: dict[str, Any], words: str
) -> None:
    response = client.post(f"/api/detect/{sense}/", files=files)
    assert response.status_code == 400
    assert response.json() == {"success": False, "error": words, "error_type": "validation_error"}


def test_damaged_media_is_a_processing_error(client: TestClient, service: FakeService) -> None:
    service.failure = CorruptMedia("nothing could be decoded.")
    response = client.post("/api/detect/video/", files=VIDEO)
    assert (response.status_code, response.json()["error_type"]) == (400, "processing_error")


def test_an_overload_is_a_server_error_to_be_tried_again(client: TestClient, service: FakeService) -> None:
    service.failure = Overloaded("full.")
    response = client.post("/api/detect/video/", files=VIDEO)
    assert (response.status_code, response.json()["error_type"]) == (503, "server_error")
    assert response.headers["retry-after"]


def test_an_unexpected_failure_is_a_server_error(client: TestClient, service: FakeService) -> None:
    service.failure = RuntimeError("secret")
    response = client.post("/api/detect/audio/", files=RECORDING)
    assert response.status_code == 500
    assert response.json() == {
        "success": False,
        "error": "Internal server error during audio processing",
        "error_type": "server_error",
    }


@pytest.mark.parametrize("slash", ["/", ""])
def test_health_has_the_readmes_body(anonymous: TestClient, slash: str) -> None:
    body = anonymous.get(f"/api/health{slash}").json()
    assert set(body) == {"status", "video_model_loaded", "audio_model_loaded", "timestamp"}


def test_health_is_open_and_says_what_is_loaded(anonymous: TestClient, service: FakeService) -> None:
    body = anonymous.get("/api/health/").json()
    assert (body["status"], body["video_model_loaded"], body["audio_model_loaded"]) == ("healthy", True, False)
    service.deployments = {"Ingress": DeploymentHealth("UPDATING", 0)}
    response = anonymous.get("/api/health")
    assert (response.status_code, response.json()["error"]) == (503, "Models not loaded")
    assert response.headers["Retry-After"] == "2"
