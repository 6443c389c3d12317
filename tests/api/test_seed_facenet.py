from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from models.errors import CorruptMedia, EmptyMedia
from models.types import Label, Verdict
from serve_app.service import DeploymentHealth
from serve_app.uploads import Upload
from tests.api.conftest import FakeService, verdict
from tests.media import clip, gradient, still

PICTURE = {"file": ("face.png", still(gradient(), "png"), "image/png")}
CHANGES = ["grayscale", "rotate_right", "rotate_left", "brightness_up", "brightness_down", "flip_horizontal"]


def says(service: FakeService, *answers: tuple[Label, float | None]) -> None:
    """The picture first, then its changed copies in their order; the last answer is repeated."""
    left = list(answers)

    def answer(upload: Upload, model: str) -> Verdict:
        label, p_fake = left.pop(0) if len(left) > 1 else left[0]
        confidence = 0.0 if p_fake is None else max(p_fake, 1 - p_fake)
        found = replace(verdict(upload, model), verdict=label, p_fake=p_fake, confidence=confidence)
        return replace(found, reason="between") if label == "UNDETERMINED" else found

    service.answer = answer


@pytest.mark.parametrize("slash", ["/", ""])
def test_a_picture_has_the_readmes_body(client: TestClient, service: FakeService, slash: str) -> None:
    says(service, ("FAKE", 0.95))
    response = client.post(f"/api/v1/detect{slash}", files=PICTURE)
    body = response.json()
    assert response.status_code == 200
    assert set(body) == {"prediction", "confidence", "processing_time", "debug_info"}
    assert (body["prediction"], body["confidence"]) == ("fake", 0.95)
    assert body["debug_info"] == {"input_shape": [1, 160, 160, 3], "raw_prediction": 0.95}


def test_an_undetermined_picture_is_a_processing_error(client: TestClient, service: FakeService) -> None:
    says(service, ("UNDETERMINED", 0.5))
    response = client.post("/api/v1/detect/", files=PICTURE)
    assert (response.status_code, response.json()["error_code"]) == (422, "PROCESSING_ERROR")
    assert "between" in response.json()["details"]


def test_the_augmented_verdict_counts_the_picture_and_six_changed_copies(
    client: TestClient, service: FakeService
) -> None:
    says(service, ("REAL", 0.3), ("FAKE", 0.7))
    response = client.post("/api/v1/detect/augmented", files=PICTURE)
    body = response.json()
    assert response.status_code == 200
    assert body["original_prediction"]["prediction"] == "real"
    assert [one["augmentation_type"] for one in body["augmented_predictions"]] == CHANGES
    assert body["consensus_prediction"] == "FAKE"
    assert body["average_confidence"] == pytest.approx((0.3 + 6 * 0.7) / 7)
    assert body["debug_info"] == {
        "predictions_below_threshold": 6,
        "total_predictions": 7,
        "threshold": 0.6,
        "input_size": [200, 100],
    }


def test_half_of_the_votes_make_a_consensus(client: TestClient, service: FakeService) -> None:
    says(service, ("REAL", 0.2), ("REAL", 0.2), ("REAL", 0.2), ("REAL", 0.2), ("UNDETERMINED", None))
    body = client.post("/api/v1/detect/augmented", files=PICTURE).json()
    assert body["consensus_prediction"] == "REAL"
    assert body["average_confidence"] == pytest.approx(0.8)
    assert body["augmented_predictions"][-1]["prediction"] == "undetermined"


def test_without_half_of_the_votes_there_is_no_consensus(client: TestClient, service: FakeService) -> None:
    says(service, ("REAL", 0.2), ("FAKE", 0.8), ("UNDETERMINED", None))
    response = client.post("/api/v1/detect/augmented", files=PICTURE)
    assert (response.status_code, response.json()["error_code"]) == (422, "PROCESSING_ERROR")
    assert "votes" in response.json()["details"]


def test_only_the_picture_itself_is_asked_with_the_model_of_the_query(client: TestClient, service: FakeService) -> None:
    says(service, ("FAKE", 0.9))
    client.post("/api/v1/detect/augmented?model=mobilenet-sbi-v1", files=PICTURE)
    assert {ask.model for ask in service.asked} == {"mobilenet-sbi-v1"}
    assert len(service.asked) == 7


def test_no_file_is_told_with_its_code(client: TestClient) -> None:
    response = client.post("/api/v1/detect/", files={"note": (None, "x")})
    body = response.json()
    assert response.status_code == 400
    assert set(body) == {"error", "error_code", "details", "timestamp"}
    assert (body["error"], body["error_code"]) == ("No file provided", "MISSING_FILE")


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (EmptyMedia("0 bytes."), 400, "EMPTY_FILE"),
        (CorruptMedia("damaged."), 422, "PROCESSING_ERROR"),
        (RuntimeError("secret"), 500, "SERVER_ERROR"),
    ],
)
def test_failures_have_the_services_codes(
    client: TestClient, service: FakeService, failure: Exception, status: int, code: str
) -> None:
    service.failure = failure
    response = client.post("/api/v1/detect/", files=PICTURE)
    assert (response.status_code, response.json()["error_code"]) == (status, code)
    assert "secret" not in response.text


def test_a_film_is_refused_where_pictures_are_asked_for(client: TestClient, service: FakeService) -> None:
    response = client.post("/api/v1/detect/", files={"file": ("clip.mp4", clip(2))})
    assert (response.status_code, response.json()["error_code"]) == (415, "PROCESSING_ERROR")
    assert not service.asked


def test_model_info_names_the_parts_of_the_network(client: TestClient) -> None:
    body = client.get("/api/v1/model/info").json()
    assert (body["image_size"], body["model_path"]) == ([160, 160], "mobilenet-sbi-v1.safetensors")
    assert len(body["layers"]) > 20


def test_health_and_documentation_are_open(anonymous: TestClient) -> None:
    assert anonymous.get("/api/v1/detect/health").json()["status"] == "healthy"
    assert anonymous.get("/api/v1/docs").url.path == "/docs"


def test_health_says_when_to_come_again_while_the_service_starts(anonymous: TestClient, service: FakeService) -> None:
    service.deployments = {"Ingress": DeploymentHealth("UPDATING", 0)}
    response = anonymous.get("/api/v1/detect/health")
    assert (response.status_code, response.json()["status"]) == (503, "unhealthy")
    assert response.headers.get("Retry-After") == "2"


def test_an_unknown_path_below_the_service_has_its_shape(client: TestClient) -> None:
    response = client.get("/api/v1/nothing")
    assert (response.status_code, response.json()["error_code"]) == (404, "NOT_FOUND")
