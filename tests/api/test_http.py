from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serve_app.auth import is_open
from serve_app.errors import LATER_S, ApiError, problem_response
from tests.api.conftest import assert_problem

# Outermost first. The id, so that every answer has one; pages of other origins, whose preflights carry no key; the key;
# then what is counted and kept by whose key it is.
ORDER = (
    "RequestIdMiddleware",
    "CORSMiddleware",
    "ApiKeyMiddleware",
    "QuotaMiddleware",
    "IdempotencyMiddleware",
)


def test_the_middlewares_stand_in_their_order(anonymous: TestClient) -> None:
    names = [middleware.cls.__name__ for middleware in anonymous.app.user_middleware]  # type: ignore[attr-defined]
    assert {"RequestIdMiddleware", "ApiKeyMiddleware"} <= set(names)
    assert names == sorted(names, key=ORDER.index)


def operations(client: TestClient) -> list[tuple[str, str, dict[str, Any]]]:
    paths = client.get("/openapi.json").json()["paths"]
    return [(path, method, found) for path, methods in paths.items() for method, found in methods.items()]


def test_what_the_documentation_gives_a_key_to_is_what_asks_for_one(anonymous: TestClient) -> None:
    for path, method, operation in operations(anonymous):
        answer = anonymous.request(method, path.replace("{", "").replace("}", ""))
        assert (answer.status_code == 401) == bool(operation.get("security")), path
        assert ("401" in operation["responses"]) == bool(operation.get("security")), path


def test_nothing_that_is_open_to_all_is_documented_with_a_key(anonymous: TestClient) -> None:
    assert not [path for path, _, found in operations(anonymous) if is_open(path) and found.get("security")]


OTHER_SHAPES = ("/health", "/predict", "/batch_predict", "/detect_deepfake", "/api/")


def test_every_documented_error_of_the_native_routes_is_a_problem(anonymous: TestClient) -> None:
    for path, _, operation in operations(anonymous):
        errors = {status: answer for status, answer in operation["responses"].items() if status[0] in "45"}
        for status, answer in errors.items():
            if not path.startswith(OTHER_SHAPES):
                assert list(answer["content"]) == ["application/problem+json"], (path, status)


def test_the_documentation_tells_where_an_answer_says_when_to_come_again(anonymous: TestClient) -> None:
    for path, _, operation in operations(anonymous):
        for status, answer in operation["responses"].items():
            assert ("Retry-After" in answer.get("headers", {})) == (int(status) in LATER_S), (path, status)


@pytest.mark.parametrize("status", sorted(LATER_S))
def test_every_answer_that_may_pass_says_when_to_come_again(status: int) -> None:
    usual = problem_response(ApiError(status, "some_code", "Some detail."), {"type": "http", "path": "/"})
    assert int(usual.headers["retry-after"]) > 0
    known = ApiError(status, "some_code", "Some detail.", headers={"Retry-After": "7"})
    assert problem_response(known, {"type": "http", "path": "/"}).headers["retry-after"] == "7"


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422, 500])
def test_an_answer_that_will_not_pass_does_not(status: int) -> None:
    answer = problem_response(ApiError(status, "some_code", "Some detail."), {"type": "http", "path": "/"})
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/keys", "/v1/uploads", f"/v1/keys/key_{'0' * 26}/rotate"])
def test_a_body_of_a_few_fields_is_refused_while_it_arrives_once_it_is_large(client: TestClient, path: str) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(4):
            yield b" " * 2**20

    headers = {"Content-Type": "application/json"}
    assert_problem(client.post(path, content=pieces(), headers=headers), 413, "body_too_large")
