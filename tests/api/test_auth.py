import hmac

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from models.errors import UnmaskError
from serve_app.auth import digest, new_key
from serve_app.settings import Settings, read_settings
from tests.api.conftest import KEY, FakeService, assert_problem

CLIP = {"video": ("clip.mp4", b"bytes of a clip", "video/mp4")}


@pytest.mark.parametrize(
    "headers",
    [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {KEY}"}],
)
def test_the_right_key_is_let_in(anonymous: TestClient, headers: dict[str, str]) -> None:
    assert anonymous.post("/analyze", files=CLIP, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_key"),
        ({"X-API-Key": ""}, "missing_key"),
        ({"Authorization": "Basic abc"}, "missing_key"),
        ({"X-API-Key": KEY[:-1]}, "wrong_key"),
        ({"X-API-Key": KEY + "x"}, "wrong_key"),
        ({"X-API-Key": "x" * 10_000}, "wrong_key"),
        ({"Authorization": "Bearer nonsense"}, "wrong_key"),
    ],
)
def test_any_other_key_is_refused_and_nothing_is_read(
    anonymous: TestClient, service: FakeService, headers: dict[str, str], code: str
) -> None:
    body = assert_problem(anonymous.post("/analyze", files=CLIP, headers=headers), 401, code)
    assert body["detail"] == "Invalid or missing API Key"
    assert service.received == []


@pytest.mark.parametrize("path", ["/analyze", "/analyze/detailed", "/no/such/route"])
def test_every_other_path_needs_the_key(anonymous: TestClient, path: str) -> None:
    assert_problem(anonymous.post(path), 401, "missing_key")


@pytest.mark.parametrize("path", ["/", "/health", "/docs", "/redoc", "/openapi.json"])
def test_facts_health_and_documentation_are_open(anonymous: TestClient, path: str) -> None:
    assert anonymous.get(path).status_code == 200


def test_keys_are_compared_in_constant_time(anonymous: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    anonymous.post("/analyze", headers={"X-API-Key": KEY})
    assert compared == [(32, 32)]


@pytest.mark.parametrize("name", ["API_KEY", "UNMASK_API_KEY"])
def test_a_key_under_32_characters_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x" * 31)
    with pytest.raises(UnmaskError, match="31 characters; at least 32") as refused:
        read_settings()
    assert "x" * 31 not in str(refused.value)


def test_a_service_without_a_key_does_not_start() -> None:
    with pytest.raises(UnmaskError, match="API_KEY is not set"):
        Settings(_env_file=None, API_KEY=None).required_key()  # type: ignore[call-arg]


def test_a_new_key_is_long_enough_and_never_the_same() -> None:
    assert len(new_key()) == 43
    assert new_key() != new_key()


def test_the_key_does_not_show_in_the_settings() -> None:
    assert KEY not in repr(Settings(_env_file=None, API_KEY=SecretStr(KEY)))  # type: ignore[call-arg]


def test_only_a_digest_is_kept(anonymous: TestClient) -> None:
    assert digest(KEY) != KEY.encode()
    assert KEY not in repr(anonymous.app.user_middleware)  # type: ignore[attr-defined]
