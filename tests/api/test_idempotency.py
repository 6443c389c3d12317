import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from models import errors as causes
from serve_app.idempotency import Answer, Attempt, Idempotency
from serve_app.settings import Settings
from serve_app.tables import IdempotentRow
from tests.api.conftest import KEY, FakeService, assert_problem
from tests.keys import headers, make_key, with_database

CLIP = {"video": ("clip.mp4", b"bytes of a clip", "video/mp4")}
ONCE = {"Idempotency-Key": "5f0c", "Cache-Control": "no-cache"}  # the file is not answered from an earlier analysis


def test_the_same_request_again_is_answered_again_without_work(client: TestClient, service: FakeService) -> None:
    first = client.post("/analyze", files=CLIP, headers=ONCE)
    again = client.post("/analyze", files=CLIP, headers=ONCE)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    assert len(service.received) == 1


def test_without_a_key_every_request_is_done(client: TestClient, service: FakeService) -> None:
    for _ in range(2):
        client.post("/analyze", files=CLIP, headers={"Cache-Control": "no-cache"})
    assert len(service.received) == 2


@pytest.mark.parametrize(
    ("path", "files", "data"),
    [
        ("/analyze", {"video": ("clip.mp4", b"other bytes")}, {}),
        ("/analyze", {"video": ("other.mp4", b"bytes of a clip")}, {}),
        ("/analyze", CLIP, {"explain": "true"}),
        ("/analyze?model=mobilenet-sbi-v1", CLIP, {}),
        ("/analyze/detailed", CLIP, {}),
    ],
)
def test_the_key_with_another_request_is_422(
    client: TestClient, service: FakeService, path: str, files: Any, data: Any
) -> None:
    client.post("/analyze", files=CLIP, headers=ONCE)
    assert_problem(client.post(path, files=files, data=data, headers=ONCE), 422, "idempotency_key_reused")
    assert len(service.received) == 1


def test_the_order_of_query_and_boundary_of_the_form_do_not_matter(client: TestClient, service: FakeService) -> None:
    client.post("/analyze?model=voice-v1&explain=true", files=CLIP, headers=ONCE)
    again = client.post("/analyze?explain=true&model=voice-v1", files=CLIP, headers=ONCE)
    assert again.headers["idempotency-replayed"] == "true"
    assert len(service.received) == 1


def test_a_quoted_key_is_the_same_key(client: TestClient, service: FakeService) -> None:
    client.post("/analyze", files=CLIP, headers=ONCE)
    client.post("/analyze", files=CLIP, headers={**ONCE, "Idempotency-Key": '"5f0c"'})
    assert len(service.received) == 1


def test_a_refusal_of_the_media_is_answered_again(client: TestClient, service: FakeService) -> None:
    service.failure = causes.CorruptMedia("the file is damaged.")
    first = client.post("/analyze", files=CLIP, headers=ONCE)
    again = client.post("/analyze", files=CLIP, headers=ONCE)
    assert_problem(again, 422, first.json()["code"])
    assert len(service.received) == 1


@pytest.mark.parametrize("failure", [causes.Overloaded("busy.", "Try again."), RuntimeError("broken")])
def test_a_failure_of_the_service_is_not_stored(client: TestClient, service: FakeService, failure: Exception) -> None:
    service.failure = failure
    assert client.post("/analyze", files=CLIP, headers=ONCE).status_code >= 500
    service.failure = None
    answer = client.post("/analyze", files=CLIP, headers=ONCE)
    assert answer.status_code == 200
    assert "idempotency-replayed" not in answer.headers


def test_a_drawn_file_is_streamed_and_made_anew_each_time(client: TestClient, service: FakeService) -> None:
    for _ in range(2):
        assert client.post("/analyze/visualize", files=CLIP, headers=ONCE).content == b"first second"
    assert len(service.received) == 2


def test_owners_do_not_see_each_others_answers(client: TestClient, settings: Settings, service: FakeService) -> None:
    client.post("/analyze", files=CLIP, headers=ONCE)
    other = client.post("/analyze", files=CLIP, headers={**ONCE, **headers(make_key(settings.database_url))})
    assert "idempotency-replayed" not in other.headers
    assert len(service.received) == 2


def test_a_request_that_still_runs_elsewhere_is_409_and_done_once_its_process_is_gone(
    client: TestClient, settings: Settings, service: FakeService
) -> None:
    client.post("/analyze", files=CLIP, headers=ONCE)
    until = datetime.now(UTC) + timedelta(minutes=1)

    async def forget_the_answer(database: Any, leased_until: datetime) -> None:
        async with database.transaction() as session:
            changes = {"status": None, "body": None, "leased_by": "try_other", "leased_until": leased_until}
            await session.execute(update(IdempotentRow).values(**changes))

    with_database(settings.database_url, lambda database: forget_the_answer(database, until))
    running = client.post("/analyze", files=CLIP, headers=ONCE)
    assert_problem(running, 409, "still_running")
    assert int(running.headers["retry-after"]) > 0
    past = datetime.now(UTC) - timedelta(seconds=1)
    with_database(settings.database_url, lambda database: forget_the_answer(database, past))
    assert client.post("/analyze", files=CLIP, headers=ONCE).status_code == 200
    assert len(service.received) == 2


@pytest.mark.parametrize("key", ["", " ", '""', "x" * 256])
def test_a_key_that_is_none_is_400(client: TestClient, service: FakeService, key: str) -> None:
    response = client.post("/analyze", files=CLIP, headers={"Idempotency-Key": key})
    assert_problem(response, 400, "wrong_idempotency_key")
    assert service.received == []


def test_a_get_takes_no_notice_of_the_key(client: TestClient) -> None:
    assert client.get("/health", headers={"Idempotency-Key": ""}).status_code == 200


def test_what_is_kept_of_an_answer_is_its_body_and_what_the_body_needs(client: TestClient, settings: Settings) -> None:
    first = client.post("/analyze", files=CLIP, headers=ONCE)

    async def kept(database: Any) -> Answer | None:
        async with database.transaction() as session:
            (row,) = [await session.get(IdempotentRow, ("operator", "5f0c"))]
        rows = Idempotency(database, 60)
        return await rows.claim(Attempt(rows, "operator", "5f0c"), row.fingerprint)

    answer = with_database(settings.database_url, kept)
    assert answer
    assert json.loads(answer.body) == first.json()
    assert answer.headers == {"content-type": "application/json"}
    assert KEY not in answer.body


def test_an_analysis_that_was_erased_is_not_answered_again(client: TestClient) -> None:
    first = client.post("/analyze", files=CLIP, headers=ONCE).json()
    assert client.delete(f"/v1/analyses/{first['id']}").status_code == 204
    again = client.post("/analyze", files=CLIP, headers=ONCE)
    assert "idempotency-replayed" not in again.headers
    assert again.json()["id"] != first["id"]
