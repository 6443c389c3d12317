"""The bodies that the README of the Drishtiksha service shows, on the routes that it names."""

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models.types import Temporal, Verdict
from serve_app.uploads import Upload
from tests.api.conftest import KEY, FakeService, verdict

CLIP = {"video": ("clip.mp4", b"bytes of a clip", "video/mp4")}
QUICK = {"prediction": "FAKE", "confidence": 0.873, "processing_time": 3.42, "model": "siglip-lstm-v3"}
QUICK["timestamp"] = "2025-08-15T10:30:45Z"
DETAILED = {
    "prediction": "FAKE",
    "confidence": 0.873,
    "processing_time": 5.67,
    "model": "siglip-lstm-v3",
    "analysis_details": {
        "frame_count": 32,
        "avg_confidence": 0.856,
        "confidence_std": 0.124,
        "temporal_consistency": 0.89,
        "rolling_average": 0.881,
    },
    "model_info": {"version": "v3", "architecture": "SIGLIP-LSTM", "device": "cuda:0"},
    "system_info": {"gpu_memory_used": "3.2GB", "processing_device": "NVIDIA RTX 4070"},
}
FRAMES = {
    "prediction": "FAKE",
    "confidence": 0.873,
    "processing_time": 4.23,
    "frame_predictions": [{"frame": 1, "confidence": 0.91, "prediction": "FAKE"}],
    "temporal_analysis": {
        "consistency_score": 0.89,
        "pattern_detection": "sustained_fake_pattern",
        "anomaly_frames": [],
        "confidence_trend": "stable_high",
    },
    "summary": {"total_frames": 32, "fake_frames": 29, "real_frames": 3, "avg_confidence": 0.856},
}
NOT_FOUND = {
    "error": "Model not found",
    "message": "Requested model 'invalid-model' is not available",
    "available_models": ["siglip-lstm-v1"],
    "suggestions": ["Check model name spelling"],
    "timestamp": "2025-08-15T10:30:45Z",
}
ERROR = {"error": "", "message": "", "suggestions": [], "timestamp": ""}


def assert_has(answer: Any, shown: Any, where: str = "") -> None:
    """Everything that the README shows is there and of its type; there may be more."""
    if isinstance(shown, dict):
        for name, value in shown.items():
            assert name in answer, f"{where}.{name}"
            assert_has(answer[name], value, f"{where}.{name}")
    elif isinstance(shown, list):
        assert isinstance(answer, list), where
        for item in answer if shown else []:
            assert_has(item, shown[0], where)
    else:
        assert isinstance(answer, (int, float) if isinstance(shown, float) else type(shown)), where


@pytest.fixture
def timed(service: FakeService) -> None:
    """A verdict whose scores over time are judged."""

    def answer(upload: Upload, model: str) -> Verdict:
        course = Temporal("face 0", 0.9, "stable", 0.0, "sustained_fake", (), ())
        return replace(verdict(upload, model), temporal=(course,))

    service.answer = answer


@pytest.mark.usefixtures("timed")
@pytest.mark.parametrize(
    ("path", "shown"), [("/analyze", QUICK), ("/analyze/detailed", DETAILED), ("/analyze/frames", FRAMES)]
)
@pytest.mark.parametrize("field", ["video", "media", "file"])
def test_an_analysis_has_all_that_the_readme_shows(
    client: TestClient, path: str, shown: dict[str, Any], field: str
) -> None:
    response = client.post(path, params={"model": "mobilenet-sbi-v1"}, files={field: CLIP["video"]})
    assert response.status_code == 200
    assert_has(response.json(), shown)


def test_an_unknown_model_has_the_readmes_error(client: TestClient) -> None:
    response = client.post("/analyze?model=invalid-model", files=CLIP)
    assert response.status_code == 404
    assert_has(response.json(), NOT_FOUND)
    assert response.json()["error"] == NOT_FOUND["error"]
    assert response.json()["suggestions"][0] == "Check model name spelling"


@pytest.mark.parametrize("key", ["", "wrong"])
def test_a_refused_key_has_that_services_words(anonymous: TestClient, key: str) -> None:
    response = anonymous.post("/analyze", files=CLIP, headers={"X-API-Key": key} if key else {})
    assert response.status_code == 401
    assert response.json()["detail"] == "Invalid or missing API Key"


@pytest.mark.parametrize("path", ["/analyze", "/analyze/detailed", "/analyze/frames", "/analyze/visualize"])
def test_every_other_error_has_what_those_clients_read(client: TestClient, path: str) -> None:
    for response in (client.post(path), client.get(path), client.post(path, files={"wrong": b"x"})):
        assert response.status_code >= 400
        assert_has(response.json(), ERROR)


@pytest.mark.parametrize("key", [None, KEY, "wrong"])
def test_facts_and_health_need_no_key_and_take_any(anonymous: TestClient, key: str | None) -> None:
    headers = {"X-API-Key": key} if key else {}
    assert anonymous.get("/", headers=headers).json()["available_models"] == ["mobilenet-sbi-v1"]
    assert anonymous.get("/health", headers=headers).status_code == 200
