"""A file that was analysed before is answered from the history, and every answer is recorded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models.detectors.catalogue import read_catalogue
from serve_app import analyst
from serve_app.analyst import Analyst
from serve_app.artifacts import Artifacts
from serve_app.asking import Ask, Origin
from serve_app.database import Database, DatabaseUnavailable
from serve_app.history import History
from serve_app.settings import Settings
from serve_app.uploads import Upload
from tests.api.conftest import FakeService, assert_problem, verdict

CLIP = {"video": ("clip.mp4", b"bytes of a clip", "video/mp4")}
AFRESH = {"Cache-Control": "no-cache"}


def post(client: TestClient, path: str = "/analyze", **request: Any) -> dict[str, Any]:
    answer = client.post(path, **{"files": CLIP, **request})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_the_same_file_gets_the_same_verdict_without_the_work(client: TestClient, service: FakeService) -> None:
    first, second, third = (post(client) for _ in range(3))
    assert len(service.received) == 1
    assert (first["reused_from"], second["reused_from"], third["reused_from"]) == (None, first["id"], first["id"])
    assert len({first["id"], second["id"], third["id"]}) == 3
    own = {"id", "reused_from", "processing_time", "timestamp", "request_id", "timings"}
    assert {k: v for k, v in second.items() if k not in own} == {k: v for k, v in first.items() if k not in own}


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("/analyze", {"files": {"video": b"another file"}}),
        ("/analyze?model=mobilenet-sbi-v1", {}),
        ("/analyze?explain=true", {}),
        ("/analyze", {"headers": AFRESH}),
    ],
)
def test_another_question_or_one_that_wants_it_fresh_is_worked_on(
    client: TestClient, service: FakeService, path: str, request_: dict[str, Any]
) -> None:
    post(client)
    assert post(client, path, **request_)["reused_from"] is None
    assert len(service.received) == 2


def test_a_fresh_answer_is_the_one_that_is_reused_next(client: TestClient) -> None:
    post(client)
    fresh = post(client, headers=AFRESH)
    assert post(client)["reused_from"] == fresh["id"]


def test_a_degraded_answer_is_not_reused(client: TestClient, service: FakeService) -> None:
    service.answer = lambda upload, model: replace(verdict(upload, model), degraded=True)
    assert [post(client)["reused_from"] for _ in range(2)] == [None, None]
    assert len(service.received) == 2


def test_with_reuse_switched_off_every_file_is_worked_on(client: TestClient, service: FakeService) -> None:
    state: Any = client.app
    settings = state.state.settings.model_copy(update={"reuse_results": False})
    state.state.analyst = Analyst(service, state.state.history, state.state.catalogue, settings)
    assert [post(client)["reused_from"] for _ in range(2)] == [None, None]


@pytest.fixture
def scene(service: FakeService, settings: Settings) -> Analyst:
    history = History(Database(settings.database_url), Artifacts(settings.artifacts_url, b"secret"), settings)
    return Analyst(service, history, read_catalogue(), settings)


def test_what_an_answer_depends_on_changes_what_it_is_known_by(scene: Analyst) -> None:
    catalogue = read_catalogue()
    row = catalogue.rows[0]
    other = row.model_copy(update={"calibration": row.calibration.model_copy(update={"bias": 0.5})})
    bounds = catalogue.verdict.model_copy(update={"fake_above": 0.99})
    settings = scene._settings.model_copy(update={"precision": "bf16"})
    ask = Ask("ensemble")

    def known_by(changed: Any = catalogue, chosen: Settings = scene._settings) -> str:
        return Analyst(scene._service, scene._history, changed, chosen).answered_by(ask)

    known = {
        known_by(),
        known_by(replace(catalogue, rows=(other, *catalogue.rows[1:]))),
        known_by(replace(catalogue, rows=catalogue.rows[1:])),
        known_by(replace(catalogue, verdict=bounds)),
        known_by(chosen=settings),
        scene.answered_by(replace(ask, explain=True)),
        scene.answered_by(replace(ask, heat=True)),
        scene.answered_by(replace(ask, model="cascade")),
    }
    assert len(known) == 8
    assert known_by() == scene.answered_by(replace(ask, fresh=True))


def test_an_order_that_does_not_matter_to_the_answer_is_still_a_question_of_its_own(scene: Analyst) -> None:
    names = read_catalogue().ids[:2]
    assert scene.answered_by(Ask(",".join(names))) != scene.answered_by(Ask(",".join(names[::-1])))


class Away:
    """Lets `after` transactions through, then the next `amount` find no database."""

    def __init__(self, patch: pytest.MonkeyPatch, after: int, amount: float) -> None:
        self.after, self.amount, self.asked = after, amount, 0
        self._real = Database.transaction
        patch.setattr(Database, "transaction", lambda database: self.transaction(database))  # noqa: PLW0108 - it must bind
        patch.setattr(analyst, "RECORD_PAUSE_S", 0.001)

    @asynccontextmanager
    async def transaction(self, database: Database) -> AsyncIterator[Any]:
        self.asked += 1
        if self.after < self.asked <= self.after + self.amount:
            raise DatabaseUnavailable("The database does not answer.", "Try again shortly.")
        async with self._real(database) as session:
            yield session


def test_a_database_that_is_away_before_the_work_is_503_and_nothing_is_done(
    client: TestClient, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    Away(monkeypatch, after=0, amount=1)
    answer = client.post("/analyze", files=CLIP)
    assert_problem(answer, 503, "database_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert service.received == []


def test_a_fresh_analysis_needs_the_database_too(
    client: TestClient, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    Away(monkeypatch, after=0, amount=1)
    assert_problem(client.post("/analyze", files=CLIP, headers=AFRESH), 503, "database_unavailable")
    assert service.received == []


def test_a_database_that_comes_back_gets_the_analysis(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    Away(monkeypatch, after=1, amount=5)
    made = post(client)
    assert made["recorded"]
    assert post(client)["reused_from"] == made["id"]


def test_an_answer_outlives_a_database_that_stays_away(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyst, "RECORD_PATIENCE_S", 0.01)
    Away(monkeypatch, after=1, amount=float("inf"))
    made = post(client)
    assert (made["id"], made["recorded"], made["verdict"]) == ("", False, "FAKE")


def test_a_job_whose_analysis_cannot_be_recorded_is_not_done(
    scene: Analyst, monkeypatch: pytest.MonkeyPatch, service: FakeService
) -> None:
    monkeypatch.setattr(analyst, "JOB_RECORD_PATIENCE_S", 0.01)
    Away(monkeypatch, after=1, amount=float("inf"))

    async def also(*_: Any) -> None:
        raise AssertionError("there is no transaction to write in")

    async def work() -> None:
        upload = Upload(BytesIO(), sha256="ab" * 32)
        try:
            await scene.analyze(upload, Ask("ensemble"), Origin(job_id="job_1"), also=also)
        finally:
            await scene._history._database.close()

    with pytest.raises(DatabaseUnavailable):
        asyncio.run(work())
    assert len(service.received) == 1
