"""A real database server that is stopped and started while analyses are made."""

import asyncio
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from deployments.progress import Progress
from models.detectors.catalogue import read_catalogue
from models.types import Verdict
from serve_app import analyst
from serve_app.analyst import Analysis, Analyst
from serve_app.artifacts import Artifacts
from serve_app.asking import Ask, Origin
from serve_app.database import Database, DatabaseUnavailable, migrate
from serve_app.history import History
from serve_app.settings import Settings
from serve_app.uploads import Upload
from tests.api.conftest import FakeService
from tests.servers import Postgres, postgres
from tests.verdicts import a_verdict


class Stopping(FakeService):
    """Stops the database while it works; it starts again when `comes_back`."""

    def __init__(self, server: Postgres, *, comes_back: bool) -> None:
        super().__init__()
        self.server, self.comes_back = server, comes_back
        self.starting: asyncio.Task[None] | None = None

    async def analyze(self, upload: Upload, ask: Ask, watch: Callable[[Progress], None] | None = None) -> Verdict:  # noqa: ARG002
        self.received.append(b"")
        await asyncio.to_thread(self.server.stop)
        if self.comes_back:
            self.starting = asyncio.create_task(asyncio.to_thread(self.server.start))
        return a_verdict()


async def analyzed(service: Stopping, folder: Path) -> tuple[Analysis, list[str]]:
    """The analysis, and the ids in the database once the server is there again."""
    database, settings = Database(service.server.url), Settings(_env_file=None)  # type: ignore[call-arg]
    history = History(database, Artifacts(str(folder), b"secret"), settings)
    try:
        done = await Analyst(service, history, read_catalogue(), settings).analyze(
            Upload(BytesIO(), sha256="ab" * 32), Ask("ensemble"), Origin()
        )
        if service.starting:
            await service.starting
            return done, [row.id for row in await history.recent("operator", 9)]
        return done, []
    finally:
        await database.close()


def test_an_analysis_whose_database_went_away_and_came_back_is_recorded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyst, "RECORD_PATIENCE_S", 60.0)
    with postgres() as server:
        migrate(server.url)
        service = Stopping(server, comes_back=True)
        done, recorded = asyncio.run(analyzed(service, tmp_path))
    assert recorded == [done.id]
    assert len(service.received) == 1


def test_a_verdict_is_answered_though_the_database_stays_away_and_the_next_one_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyst, "RECORD_PATIENCE_S", 0.1)
    with postgres() as server:
        migrate(server.url)
        service = Stopping(server, comes_back=False)
        done, _ = asyncio.run(analyzed(service, tmp_path))
        with pytest.raises(DatabaseUnavailable):
            asyncio.run(analyzed(service, tmp_path))
    assert (done.id, done.verdict.verdict) == ("", "FAKE")
    assert len(service.received) == 1
