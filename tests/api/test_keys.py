from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serve_app.settings import Settings
from tests.api.conftest import assert_problem
from tests.keys import headers, make_key

CLIP = {"video": ("clip.mp4", b"bytes of a clip", "video/mp4")}
ALICE = {"owner": "alice", "scopes": ["analyze", "read"]}
UNKNOWN = "key_" + "0" * 26


def test_a_new_key_is_shown_once_and_works(client: TestClient) -> None:
    made = client.post("/v1/keys", json={**ALICE, "name": "desk", "requests_per_minute": 9})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    body = made.json()
    assert (body["owner"], body["name"], body["state"], body["requests_per_minute"]) == ("alice", "desk", "active", 9)
    assert client.post("/analyze", files=CLIP, headers={"X-API-Key": body["key"]}).status_code == 200
    again = client.get(made.headers["location"]).json()
    assert "key" not in again
    assert again["id"] == body["id"]
    assert again["last_used_at"].endswith("Z")


def test_a_revoked_key_is_refused_and_stays_listed(client: TestClient) -> None:
    made = client.post("/v1/keys", json=ALICE).json()
    assert client.delete(f"/v1/keys/{made['id']}").json()["state"] == "revoked"
    assert_problem(client.post("/analyze", files=CLIP, headers={"X-API-Key": made["key"]}), 401, "wrong_key")
    assert [key["id"] for key in client.get("/v1/keys").json()["items"]] == [made["id"]]


def test_a_rotated_key_gives_way_to_the_new_one_after_the_overlap(client: TestClient) -> None:
    old = client.post("/v1/keys", json=ALICE).json()
    new = client.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 3600})
    assert new.status_code == 201
    for key in (old["key"], new.json()["key"]):
        assert client.post("/analyze", files=CLIP, headers={"X-API-Key": key}).status_code == 200
    assert client.get(f"/v1/keys/{old['id']}").json()["expires_at"]


def test_without_an_overlap_the_old_key_ends_at_once(client: TestClient) -> None:
    old = client.post("/v1/keys", json=ALICE).json()
    assert client.post(f"/v1/keys/{old['id']}/rotate").status_code == 201
    assert client.get(f"/v1/keys/{old['id']}").json()["state"] == "revoked"
    assert_problem(client.post(f"/v1/keys/{old['id']}/rotate"), 422, "wrong_key_options")


def test_keys_are_listed_in_pages_that_lead_to_each_other(client: TestClient) -> None:
    made = [client.post("/v1/keys", json=ALICE).json()["id"] for _ in range(3)]
    first = client.get("/v1/keys?limit=2")
    second = client.get(first.headers["link"].partition(">")[0].removeprefix("<"))
    assert {key["id"] for page in (first, second) for key in page.json()["items"]} == set(made)
    assert first.json()["next_cursor"]
    assert (second.json()["next_cursor"], second.headers.get("link")) == (None, None)


def test_keys_of_one_owner_can_be_listed(client: TestClient) -> None:
    bobs = client.post("/v1/keys", json={**ALICE, "owner": "bob"}).json()["id"]
    client.post("/v1/keys", json=ALICE)
    assert [key["id"] for key in client.get("/v1/keys?owner=bob").json()["items"]] == [bobs]


@pytest.mark.parametrize(("scopes", "status"), [(["analyze", "read"], 403), (["admin"], 200)])
def test_only_a_key_with_the_scope_admin_sees_keys(
    anonymous: TestClient, settings: Settings, scopes: list[str], status: int
) -> None:
    made = make_key(settings.database_url, scopes=scopes)
    assert anonymous.get("/v1/keys", headers=headers(made)).status_code == status


@pytest.mark.parametrize(
    "wrong",
    [
        {"owner": ""},
        {"owner": "a\x00b"},
        {"scopes": []},
        {"scopes": ["write"]},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "9999-12-31T23:59:59-12:00"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"requests_per_minute": -1},
        {"requests_per_minute": 2**31},
        {"colour": "red"},
    ],
)
def test_a_key_that_makes_no_sense_is_422(client: TestClient, wrong: dict[str, Any]) -> None:
    response = client.post("/v1/keys", json={**ALICE, **wrong})
    assert_problem(response, 422, response.json()["code"])
    assert client.get("/v1/keys").json()["items"] == []


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/rotate")])
def test_a_key_that_is_not_there_is_404(client: TestClient, method: str, path: str) -> None:
    assert_problem(client.request(method, f"/v1/keys/{UNKNOWN}{path}"), 404, "unknown_key")


def test_the_end_is_told_in_utc(client: TestClient) -> None:
    ends = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    made = client.post("/v1/keys", json={**ALICE, "expires_at": ends.isoformat()}).json()
    assert made["expires_at"] == ends.isoformat().replace("+00:00", "Z")
