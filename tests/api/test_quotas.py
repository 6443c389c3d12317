from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models.types import Verdict
from serve_app.asking import Caller
from serve_app.database import DatabaseUnavailable
from serve_app.quotas import Quotas
from serve_app.settings import Settings
from serve_app.uploads import Upload
from tests.api.conftest import FakeService, assert_problem, verdict
from tests.keys import headers, make_key, with_database

CLIP = {"video": ("clip.mp4", b"bytes of a clip", "video/mp4")}
PATH = "/no/such/route"


def charge(settings: Settings, key_id: str, seconds: float) -> None:
    caller = Caller("alice", key_id)
    with_database(settings.database_url, lambda database: Quotas(database, settings).charge(caller, seconds))


def test_every_answer_to_a_key_with_limits_says_how_it_stands(anonymous: TestClient, settings: Settings) -> None:
    made = make_key(settings.database_url, requests_per_minute=5, media_seconds_per_hour=60)
    policies = '"requests";q=5;w=60, "media";q=60;w=3600;qu="media-seconds"'
    for left, path in ((4, "/analyze"), (3, PATH)):
        answer = anonymous.post(path, files=CLIP, headers=headers(made))
        assert answer.headers["ratelimit-policy"] == policies
        assert answer.headers["ratelimit"].startswith(f'"requests";r={left};t=')


def test_the_request_above_the_limit_is_429_with_the_time_to_wait(
    anonymous: TestClient, settings: Settings, service: FakeService
) -> None:
    made = make_key(settings.database_url, requests_per_minute=1)
    anonymous.get(PATH, headers=headers(made))
    refused = anonymous.post("/analyze", files=CLIP, headers=headers(made))
    assert assert_problem(refused, 429, "rate_limited")["violated-policies"] == ["requests"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert '"requests";r=0' in refused.headers["ratelimit"]
    assert service.received == []


def test_without_seconds_of_media_left_analyses_are_429_and_the_rest_answers(
    anonymous: TestClient, settings: Settings, service: FakeService
) -> None:
    made = make_key(settings.database_url, media_seconds_per_hour=60)
    charge(settings, made.row.id, 61)
    refused = anonymous.post("/analyze", files=CLIP, headers=headers(made))
    assert assert_problem(refused, 429, "rate_limited")["violated-policies"] == ["media"]
    assert service.received == []
    assert anonymous.get(PATH, headers=headers(made)).status_code == 404


@pytest.mark.parametrize("path", ["/analyze", "/analyze/detailed", "/analyze/visualize"])
def test_analysed_media_is_counted_by_its_length(
    anonymous: TestClient, settings: Settings, service: FakeService, path: str
) -> None:
    def long(upload: Upload, model: str) -> Verdict:
        found = verdict(upload, model)
        return replace(found, media=replace(found.media, duration_s=12.5, audio_s=13.2))

    service.answer = long
    made = make_key(settings.database_url, media_seconds_per_hour=60)
    answer = anonymous.post(path, files=CLIP, headers=headers(made))
    assert answer.status_code == 200
    assert '"media";r=46;t=' in answer.headers["ratelimit"]


def test_an_answer_that_is_reused_counts_nothing(
    anonymous: TestClient, settings: Settings, service: FakeService
) -> None:
    made = make_key(settings.database_url, media_seconds_per_hour=60)
    answers = [anonymous.post("/analyze", files=CLIP, headers=headers(made)) for _ in range(2)]
    assert len(service.received) == 1
    assert ['"media";r=59;' in answer.headers["ratelimit"] for answer in answers] == [True, True]


@pytest.mark.parametrize(
    ("own", "told"), [({}, 600), ({"requests_per_minute": 7}, 7), ({"requests_per_minute": 0}, None)]
)
def test_a_key_can_ask_for_its_limits(
    anonymous: TestClient, settings: Settings, own: dict[str, Any], told: int | None
) -> None:
    made = make_key(settings.database_url, **own)
    assert anonymous.get("/v1/limits", headers=headers(made)).json()["key"]["requests_per_minute"] == told


def test_the_operators_key_has_no_limits_and_no_headers_of_them(client: TestClient) -> None:
    assert "ratelimit" not in client.get(PATH).headers


def test_a_refused_key_is_not_counted_and_told_nothing(anonymous: TestClient) -> None:
    assert "ratelimit" not in anonymous.get(PATH, headers={"X-API-Key": "wrong"}).headers


def test_a_database_that_goes_away_while_an_answer_is_made_costs_only_the_headers(
    anonymous: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_quotas: Quotas, _caller: Caller) -> None:
        raise DatabaseUnavailable("The database does not answer.")

    monkeypatch.setattr(Quotas, "standings", away)
    answer = anonymous.post("/analyze", files=CLIP, headers=headers(make_key(settings.database_url)))
    assert (answer.status_code, answer.headers.get("ratelimit")) == (200, None)


@pytest.mark.parametrize("origin", ["https://desk.example", "https://other.example"])
def test_pages_of_other_origins_may_not_call_by_default(client: TestClient, origin: str) -> None:
    assert "access-control-allow-origin" not in client.get("/", headers={"Origin": origin}).headers
