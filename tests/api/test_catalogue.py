import pytest
from fastapi.testclient import TestClient

from serve_app.service import DeploymentHealth
from tests.api.conftest import MAX_UPLOAD_BYTES, FakeService, assert_problem


def test_models_are_told_with_what_they_are_worth_and_whether_they_answer(client: TestClient) -> None:
    body = client.get("/v1/models").json()
    models = {model["id"]: model for model in body["models"]}
    face, voice = models["mobilenet-sbi-v1"], models["voice-v1"]
    assert (face["installed"], face["ready"], face["replicas"], face["why"]) == (True, True, 1, "")
    assert (face["takes"], voice["takes"]) == ("face", "audio")
    assert (face["fused"], voice["fused"]) == (True, False)
    assert face["measured"]
    assert len(face["sha256"]) == 64
    assert body["selections"] == ["ensemble", "cascade"]
    assert body["verdict"]["real_below"] < body["verdict"]["fake_above"]


def test_what_is_not_installed_is_told_with_the_reason(client: TestClient) -> None:
    voice = client.get("/v1/models/voice-v1").json()
    assert (voice["installed"], voice["ready"], voice["replicas"]) == (False, False, 0)
    assert voice["why"].startswith("It is not installed.")


def test_a_model_whose_replicas_are_gone_is_installed_and_not_ready(client: TestClient, service: FakeService) -> None:
    service.deployments["Detector-mobilenet-sbi-v1"] = DeploymentHealth("UNHEALTHY", 0)
    body = client.get("/v1/models/mobilenet-sbi-v1").json()
    assert (body["installed"], body["ready"]) == (True, False)


@pytest.mark.parametrize("name", ["nope", "ensemble", "a%00b", "x" * 3000])
def test_an_unknown_model_is_404_and_the_known_are_named(client: TestClient, name: str) -> None:
    body = assert_problem(client.get(f"/v1/models/{name}"), 404, "unknown_model")
    assert "mobilenet-sbi-v1" in body["available_models"]


def test_limits_are_told_of_requests_media_and_key(client: TestClient) -> None:
    body = client.get("/v1/limits").json()
    assert body["requests"]["max_upload_bytes"] == MAX_UPLOAD_BYTES
    assert body["requests"]["max_batch_files"] == 50
    assert body["media"]["max_duration_s"] == 1800
    assert body["key"] == {
        "scopes": ["admin", "analyze", "read"],
        "requests_per_minute": None,
        "media_seconds_per_hour": None,
    }
    assert "MP4" in body["accepted"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/mobilenet-sbi-v1", "/v1/limits"])
def test_models_and_limits_need_a_key(anonymous: TestClient, path: str) -> None:
    assert_problem(anonymous.get(path), 401, "missing_key")
