"""What is over is erased, on both kinds of database and of store."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from serve_app.artifacts import Artifacts, StorageUnavailable
from serve_app.database import Database
from serve_app.history import History
from serve_app.ids import new_id
from serve_app.retention import Retention
from serve_app.settings import Settings
from serve_app.tables import (
    AnalysisRow,
    BatchRow,
    Counter,
    IdempotentRow,
    JobEventRow,
    JobFileRow,
    JobRow,
    Table,
    UploadRow,
)
from tests.unit.test_history import SHA256, finished

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
PAIRS = [("sqlite", "folder"), ("postgresql", "s3")]
pytestmark = pytest.mark.parametrize(("empty_database_url", "artifacts_url"), PAIRS, indirect=True)


@dataclass(frozen=True, slots=True)
class Kept:
    database: Database
    artifacts: Artifacts
    history: History

    async def sweep(self, **settings: Any) -> int:
        return await Retention(self.database, self.artifacts, chosen(**settings)).sweep()

    async def add(self, *rows: Table) -> None:
        for row in rows:  # one after the other: some name others
            async with self.database.transaction() as session:
                session.add(row)

    async def count(self, table: type[Any]) -> int:
        async with self.database.transaction() as session:
            return await session.scalar(select(func.count()).select_from(table)) or 0

    async def analysis(self, age: timedelta, expires_in: timedelta | None = None) -> str:
        row = await self.history.record(finished())
        changed = {"created_at": NOW - age, "expires_at": NOW + expires_in if expires_in else None}
        async with self.database.transaction() as session:
            await session.execute(update(AnalysisRow).where(AnalysisRow.id == row.id).values(**changed))
        return row.id

    async def left(self) -> tuple[list[str], list[str]]:
        """Ids of analyses in the database, and of those with pictures in the store."""
        names = [name async for name in self.artifacts.names("pictures")]
        rows = [row.id for row in await self.history.recent("ann", 999)]
        return sorted(rows), sorted(name.removeprefix("pictures/").removesuffix(".json") for name in names)


def chosen(**settings: Any) -> Settings:
    keeps_all = {"history_days": 0.0, "artifacts_days": 0.0}
    return Settings(_env_file=None).model_copy(update=keeps_all | settings)  # type: ignore[call-arg]


Play = Callable[[Callable[[Kept], Awaitable[Any]]], Any]


@pytest.fixture
def play(database_url: str, artifacts: Artifacts) -> Play:
    def run(scene: Callable[[Kept], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            database = Database(database_url)
            try:
                return await scene(Kept(database, artifacts, History(database, artifacts, chosen())))
            finally:
                await database.close()

        return asyncio.run(whole())

    return run


def test_without_limits_nothing_that_was_kept_is_erased(play: Play) -> None:
    async def scene(kept: Kept) -> Any:
        old = await kept.analysis(10_000 * DAY)
        return old, await kept.sweep(), await kept.left()

    old, swept, left = play(scene)
    assert (swept, left) == (0, ([old], [old]))


def test_analyses_that_are_over_go_with_their_files(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.retention.AT_ONCE", 2)

    async def scene(kept: Kept) -> Any:
        for _ in range(3):
            await kept.analysis(8 * DAY)
        await kept.analysis(DAY, expires_in=-DAY)
        young = [await kept.analysis(6 * DAY), await kept.analysis(DAY, expires_in=DAY)]
        return young, await kept.sweep(history_days=7.0), await kept.left()

    young, swept, left = play(scene)
    assert swept == 4
    assert left == (sorted(young), sorted(young))


def test_files_may_go_before_their_analyses_which_are_then_not_answered_again(play: Play) -> None:
    async def scene(kept: Kept) -> Any:
        old, young = await kept.analysis(3 * DAY), await kept.analysis(DAY)
        swept = await kept.sweep(artifacts_days=2.0), await kept.sweep(artifacts_days=2.0)
        same = await kept.history.same("ann", SHA256, "models")
        return old, young, swept, same.id if same else "", await kept.left()

    old, young, swept, same, left = play(scene)
    assert swept == (1, 0)
    assert same == young
    assert left == (sorted([old, young]), [young])


def test_while_the_store_is_away_nothing_is_forgotten_and_the_rest_is_swept(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> None:
        raise StorageUnavailable("No.")

    async def scene(kept: Kept) -> Any:
        old = await kept.analysis(3 * DAY)
        await kept.add(Counter(name="a", amount=1, expires_at=NOW - DAY))
        with monkeypatch.context() as away:
            away.setattr(kept.artifacts, "delete", refuse)
            swept = await kept.sweep(history_days=1.0), await kept.left()
        return old, swept, await kept.sweep(history_days=1.0), await kept.left()

    old, swept, later, left = play(scene)
    assert swept == (1, ([old], [old]))
    assert (later, left) == (1, ([], []))


def test_uploads_that_no_job_took_go_with_their_media(play: Play) -> None:
    def upload(name: str, expires_at: datetime) -> UploadRow:
        fields = {"owner": "ann", "filename": "", "created_at": NOW, "expires_at": expires_at}
        return UploadRow(id=new_id("upl"), object_name=name, **fields)

    async def scene(kept: Kept) -> Any:
        for name, expires_at in (("media/old", NOW - DAY), ("media/new", NOW + DAY)):
            await kept.artifacts.put(name, b"media")
            await kept.add(upload(name, expires_at))
        swept = await kept.sweep()
        return swept, await kept.count(UploadRow), [name async for name in kept.artifacts.names("media")]

    assert play(scene) == (1, 1, ["media/new"])


def test_counters_and_stored_answers_that_are_over_go(play: Play) -> None:
    def answer(key: str, expires_at: datetime) -> IdempotentRow:
        return IdempotentRow(owner="ann", key=key, fingerprint="", created_at=NOW, expires_at=expires_at)

    async def scene(kept: Kept) -> Any:
        for name, expires_at in (("old", NOW - DAY), ("new", NOW + DAY)):
            await kept.add(answer(name, expires_at), Counter(name=name, amount=1, expires_at=expires_at))
        return await kept.sweep(), await kept.count(IdempotentRow), await kept.count(Counter)

    assert play(scene) == (2, 1, 1)


def job(ended: timedelta | None) -> JobRow:
    return JobRow(
        id=new_id("job"),
        owner="ann",
        key_id="key_1",
        request_id="",
        created_at=NOW,
        finished_at=NOW - ended if ended else None,
        state="done" if ended else "running",
        stage="",
        fraction=1.0,
        options={},
        attempts=1,
    )


def of_job(row: JobRow) -> tuple[JobEventRow, JobFileRow]:
    file = JobFileRow(job_id=row.id, position=0, filename="", source="", sha256="", size_bytes=0, state="done")
    return JobEventRow(job_id=row.id, at=NOW, event="end", data={}), file


def test_events_go_a_day_after_their_job_ended_and_jobs_when_analyses_do(play: Play) -> None:
    async def scene(kept: Kept) -> Any:
        for row in (job(None), job(timedelta(hours=1)), job(2 * DAY), job(9 * DAY)):
            await kept.add(row, *of_job(row))
        batch = {"owner": "ann", "total": 1, "successful": 1, "failed": 0}
        await kept.add(*(BatchRow(id=new_id("bat"), created_at=NOW - age, **batch) for age in (DAY, 9 * DAY)))
        await kept.sweep()
        events = await kept.count(JobEventRow)
        await kept.sweep(history_days=7.0)
        return events, [await kept.count(table) for table in (JobRow, JobFileRow, BatchRow)]

    assert play(scene) == (2, [3, 3, 1])
