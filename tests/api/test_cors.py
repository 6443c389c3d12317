from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from models.detectors.catalogue import read_catalogue
from serve_app.auth import digest
from serve_app.http import create_http
from serve_app.settings import Settings
from tests.api.conftest import KEY, FakeService, assert_problem

DESK = "https://desk.example"


@pytest.fixture
def desk(service: FakeService, settings: Settings) -> Iterator[TestClient]:
    """A service that pages of one origin may call."""
    allowing = settings.model_copy(update={"cors_origins": f" {DESK}/, https://two.example"})
    with TestClient(create_http(service, allowing, read_catalogue(), digest(KEY))) as client:
        yield client


def test_a_preflight_of_an_allowed_page_needs_no_key(desk: TestClient) -> None:
    asked = {
        "Origin": DESK,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key,idempotency-key",
    }
    answer = desk.options("/analyze", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == DESK


def test_an_allowed_page_may_read_refusals_too(desk: TestClient) -> None:
    answer = desk.post("/analyze", headers={"Origin": DESK})
    assert_problem(answer, 401, "missing_key")
    assert answer.headers["access-control-allow-origin"] == DESK
    assert "Retry-After" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origin", ["https://other.example", "https://desk.example.other.example", "null"])
def test_other_pages_may_not(desk: TestClient, origin: str) -> None:
    assert "access-control-allow-origin" not in desk.get("/", headers={"Origin": origin}).headers
