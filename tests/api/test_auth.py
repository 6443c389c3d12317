import hmac
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from models.detectors.catalogue import read_catalogue
from models.errors import UnmaskError
from serve_app.asking import READ
from serve_app.auth import ANONYMOUS, digest, new_key
from serve_app.http import create_http
from serve_app.keys import Keys
from serve_app.settings import Settings, read_settings
from tests.api.conftest import KEY, FakeService, assert_problem
from tests.keys import headers, make_key, with_database

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


def test_a_key_of_the_database_is_let_in_as_its_owner(anonymous: TestClient, settings: Settings) -> None:
    made = make_key(settings.database_url)
    assert anonymous.post("/analyze", files=CLIP, headers=headers(made)).status_code == 200


def test_a_revoked_key_is_refused_by_the_next_request(anonymous: TestClient, settings: Settings) -> None:
    made = make_key(settings.database_url)
    with_database(settings.database_url, lambda database: Keys(database).revoke(made.row.id))
    assert_problem(anonymous.post("/analyze", files=CLIP, headers=headers(made)), 401, "wrong_key")


def test_a_key_without_the_scope_is_403_and_nothing_is_read(
    anonymous: TestClient, settings: Settings, service: FakeService
) -> None:
    made = make_key(settings.database_url, scopes=[READ])
    response = anonymous.post("/analyze", files=CLIP, headers=headers(made))
    assert "'analyze'" in assert_problem(response, 403, "missing_scope")["detail"]
    assert 'scope="analyze"' in response.headers["www-authenticate"]
    assert service.received == []


def test_a_database_that_is_away_is_503_for_its_keys_and_none_for_the_operators(
    anonymous: TestClient, settings: Settings
) -> None:
    made = make_key(settings.database_url)
    if not settings.database_url.startswith("sqlite"):
        pytest.skip("the server is of all tests: it cannot be taken away for one")
    path = Path(settings.database_url.removeprefix("sqlite:///"))
    path.rename(path.with_suffix(".away"))
    path.mkdir()
    away = anonymous.get("/no/such/route", headers=headers(made))
    assert_problem(away, 503, "database_unavailable")
    assert int(away.headers["retry-after"]) > 0
    assert_problem(anonymous.get("/no/such/route", headers={"X-API-Key": KEY}), 404, "not_found")


SEED_PATHS = [
    "/predict",
    "/predict/batch",
    "/batch_predict",
    "/api/detect/video/",
    "/api/v1/detect/",
    "/detect_deepfake",
]


@pytest.mark.parametrize("path", SEED_PATHS)
def test_routes_of_older_services_need_a_key_unless_the_operator_opens_them(anonymous: TestClient, path: str) -> None:
    response = anonymous.get(path)
    assert response.status_code == 401
    assert "Invalid or missing API Key" in response.json().values()  # in the shape of each service


@pytest.mark.parametrize("path", SEED_PATHS)
def test_opened_routes_of_older_services_pass_strangers(service: FakeService, settings: Settings, path: str) -> None:
    opened = settings.model_copy(update={"open_seed_routes": True})
    with TestClient(create_http(service, opened, read_catalogue(), digest(KEY))) as client:
        assert client.get(path).status_code != 401
        assert client.get(path, headers={"X-API-Key": "wrong"}).status_code == 401
        assert client.post("/analyze").status_code == 401


def test_strangers_may_analyse_and_see_only_what_strangers_made() -> None:
    assert (ANONYMOUS.owner, ANONYMOUS.scopes) == ("anonymous", frozenset({"analyze", "read"}))


def test_a_prefix_that_the_service_is_mounted_at_opens_and_closes_nothing(anonymous: TestClient) -> None:
    mounted = TestClient(anonymous.app, root_path="/older", base_url="http://testserver/older/")
    assert mounted.get("health").status_code == 200
    assert mounted.post("analyze").status_code == 401
    assert mounted.post("detect_deepfake").json() == {"error": "Invalid or missing API Key"}
