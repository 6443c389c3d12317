import pytest
from fastapi.testclient import TestClient

from serve_app.service import DeploymentHealth
from tests.api.conftest import MAX_UPLOAD_BYTES, FakeService, assert_problem


def test_root_tells_models_and_limits(anonymous: TestClient) -> None:
    body = anonymous.get("/").json()
    assert "mobilenet-sbi-v1" in body["available_models"]
    assert body["limits"]["max_upload_bytes"] == MAX_UPLOAD_BYTES
    assert {"max_fps", "max_frames_total", "max_streams", "wall_s"} <= body["limits"].keys()
    assert body["verdict"]["real_below"] < body["verdict"]["fake_above"]
    model = body["models"][0]
    assert model["licence"]
    assert len(model["sha256"]) == 64
    assert model["view"]["region"] == "face"
    assert model["calibration"]["scale"] > 0
    assert body["status"] == "ok"


def test_whole_numbers_are_told_as_such(anonymous: TestClient) -> None:
    body = anonymous.get("/").json()
    told = body["limits"]["max_upload_bytes"], body["limits"]["max_streams"], body["models"][0]["view"]["size"]
    assert all(isinstance(number, int) for number in told)


def test_a_model_without_a_deployment_is_not_available(anonymous: TestClient, service: FakeService) -> None:
    service.deployments = {"Ingress": DeploymentHealth("HEALTHY", 1)}
    assert anonymous.get("/health").json()["available_models"] == []
    assert anonymous.get("/").json()["available_models"] == []


def test_health_is_200_when_every_deployment_is_ready(anonymous: TestClient) -> None:
    response = anonymous.get("/health")
    assert response.status_code == 200
    assert response.json()["status"] == "ok"
    assert response.json()["model_loaded"] is True


@pytest.mark.parametrize("status", ["HEALTHY", "UPDATING", "UPSCALING", "DOWNSCALING", "UNHEALTHY"])
def test_health_stays_200_while_a_deployment_scales(anonymous: TestClient, service: FakeService, status: str) -> None:
    service.deployments["FrameExtractor"] = DeploymentHealth(status, 1)
    assert anonymous.get("/health").status_code == 200


@pytest.mark.parametrize("status", ["UPDATING", "UNHEALTHY", "DEPLOY_FAILED", "UPSCALING"])
def test_health_is_503_until_every_deployment_is_ready(
    anonymous: TestClient, service: FakeService, status: str
) -> None:
    service.deployments["FrameExtractor"] = DeploymentHealth(status, 0)
    response = anonymous.get("/health")
    assert response.status_code == 503
    assert response.json()["deployments"]["FrameExtractor"] == {"status": status, "replicas": 0}
    assert response.json()["model_loaded"] is False


def test_health_is_503_when_nothing_is_known(anonymous: TestClient, service: FakeService) -> None:
    service.deployments.clear()
    assert anonymous.get("/health").status_code == 503


def test_an_unknown_route_and_a_wrong_method_are_problems(client: TestClient) -> None:
    assert_problem(client.get("/nowhere"), 404, "not_found")
    assert_problem(client.get("/analyze"), 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documentation_needs_no_internet(anonymous: TestClient, path: str) -> None:
    page = anonymous.get(path).text
    assert "https://" not in page.replace("https://www.w3.org", "")
    scripts = [part.split('"')[0] for part in page.split('src="')[1:]]
    assert scripts
    for script in scripts:
        assert anonymous.get(script).status_code == 200


def test_the_schema_describes_the_upload_and_the_answers(anonymous: TestClient) -> None:
    schema = anonymous.get("/openapi.json").json()
    operation = schema["paths"]["/analyze"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["video"]["format"] == "binary"
    assert {"200", "401", "404", "413", "415", "422"} <= set(operation["responses"])
    assert list(operation["responses"]["404"]["content"]) == ["application/problem+json"]
    assert {"APIKeyHeader", "HTTPBearer"} == {name for way in operation["security"] for name in way}


def test_a_request_keeps_the_id_its_client_gave_it(anonymous: TestClient) -> None:
    assert anonymous.post("/analyze", headers={"X-Request-ID": "abc-123"}).json()["request_id"] == "abc-123"


@pytest.mark.parametrize("headers", [{}, {"X-Request-ID": ""}])
def test_a_request_without_an_id_gets_one(anonymous: TestClient, headers: dict[str, str]) -> None:
    assert len(anonymous.post("/analyze", headers=headers).json()["request_id"]) == 36


def test_middleware_runs_in_order_request_id_key_quota_idempotency(anonymous: TestClient) -> None:
    names = [entry.cls.__name__ for entry in anonymous.app.user_middleware]  # type: ignore[attr-defined]
    assert names == ["RequestIdMiddleware", "ApiKeyMiddleware", "QuotaMiddleware", "IdempotencyMiddleware"]
