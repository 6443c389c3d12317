"""The database goes away for twenty seconds under a running service. Needs a server: `--stores networked`."""

import time
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import select

from models.detectors.store import ROOT
from serve_app.database import Database
from serve_app.settings import read_settings
from serve_app.tables import AnalysisRow
from tests.graph.test_jobs import send, told, until
from tests.keys import with_database
from tests.servers import Postgres
from tests.service import Running
from tests.stores import EMBEDDED, OPTION

AWAY_S = 20.0


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Postgres:
    if request.config.getoption(OPTION) == EMBEDDED:
        pytest.skip("a file does not go away: run it with --stores networked")
    found = request.getfixturevalue("postgres_server")
    assert isinstance(found, Postgres)
    return found


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, headers={"X-API-Key": running.key}, timeout=60) as client:
        yield client


def recorded(job_ids: set[str]) -> list[str]:
    """The job of every analysis of these jobs, once per row."""

    async def ask(database: Database) -> list[str]:
        asked = select(AnalysisRow.job_id).where(AnalysisRow.job_id.in_(job_ids))
        async with database.transaction() as session:
            return [str(job_id) for job_id in await session.scalars(asked)]

    return with_database(read_settings().database_url, ask)


def test_no_job_is_lost_or_done_twice_and_meanwhile_every_refusal_says_why(
    server: Postgres, client: httpx.Client
) -> None:
    clip = (ROOT / "assets/sample_real.mp4").read_bytes()
    jobs = [send(client, clip, clip) for _ in range(4)]
    until(lambda: any(told(client, job)["state"] == "running" for job in jobs))
    refusals = []
    server.stop()
    try:
        end_s = time.monotonic() + AWAY_S
        while time.monotonic() < end_s:
            refusals.append(client.post("/v1/jobs", files={"files": ("clip.mp4", clip)}))
            refusals.append(client.post("/analyze", files={"video": ("clip.mp4", clip)}))
            time.sleep(1)
    finally:
        server.start()
    assert {(answer.status_code, answer.json()["code"]) for answer in refusals} == {(503, "database_unavailable")}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refusals)
    until(lambda: all(told(client, job)["state"] == "done" for job in jobs), within_s=120)
    ids = {job["id"] for job in jobs}
    assert sorted(recorded(ids)) == sorted([*ids, *ids])
