"""Retention: what is over is erased. Any number of processes may sweep; each erases what it finds."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, String, cast, delete, or_, select, update

from models.errors import UnmaskError
from serve_app.artifacts import Artifacts
from serve_app.database import Database
from serve_app.settings import Settings
from serve_app.tables import AnalysisRow, BatchRow, Counter, IdempotentRow, JobEventRow, JobRow, UploadRow

LOGGER = logging.getLogger("ray.serve")
AT_ONCE = 200  # rows of one transaction: others wait for it where the database is SQLite
EVENTS_KEPT = timedelta(days=1)  # after a job's end; they are for who follows it


class Retention:
    """Erases what the settings say is over: first the files, then the rows that name them."""

    def __init__(self, database: Database, artifacts: Artifacts, settings: Settings) -> None:
        self._database, self._artifacts = database, artifacts
        self._history_days, self._artifacts_days = settings.history_days, settings.artifacts_days

    async def sweep(self) -> int:
        """Erase everything that is over; how many rows that were. What fails is tried again by the next sweep."""
        now = datetime.now(UTC)
        parts = (
            self._analyses,
            self._pictures,
            self._uploads,
            self._answers,
            self._counters,
            self._events,
            self._jobs,
            self._batches,
        )
        swept = 0
        for part in parts:
            try:
                swept += await part(now)
            except UnmaskError as error:
                LOGGER.warning("a part of the sweep is put off: %s", error)
        return swept

    async def _analyses(self, now: datetime) -> int:
        """Analyses that are over, by what was set when they were made or by what is set now."""
        over = AnalysisRow.expires_at <= now
        if self._history_days:
            over = or_(over, AnalysisRow.created_at <= now - timedelta(days=self._history_days))
        swept = 0
        while found := await self._with_artifacts(over):
            await self._erase_files(found)
            ids = [analysis_id for analysis_id, _ in found]
            swept += await self._rows(AnalysisRow, AnalysisRow.id.in_(ids))
        return swept

    async def _pictures(self, now: datetime) -> int:
        """Files of analyses that are kept longer than their files."""
        if not self._artifacts_days:
            return 0
        old = AnalysisRow.created_at <= now - timedelta(days=self._artifacts_days)
        has_some = cast(AnalysisRow.artifacts, String) != "{}"
        swept = 0
        while found := await self._with_artifacts(old, has_some):
            await self._erase_files(found)
            ids = [analysis_id for analysis_id, _ in found]
            # Without its pictures it cannot be answered again as it was.
            change = update(AnalysisRow).where(AnalysisRow.id.in_(ids)).values(artifacts={}, answered_by="")
            async with self._database.transaction() as session:
                await session.execute(change)
            swept += len(ids)
        return swept

    async def _uploads(self, now: datetime) -> int:
        """Media that was uploaded for a job that never came."""
        swept = 0
        asked = select(UploadRow.id, UploadRow.object_name).where(UploadRow.expires_at <= now).limit(AT_ONCE)
        while True:
            async with self._database.transaction() as session:
                found = (await session.execute(asked)).all()
            if not found:
                return swept
            await self._artifacts.delete(*(name for _, name in found))
            swept += await self._rows(UploadRow, UploadRow.id.in_([upload_id for upload_id, _ in found]))

    async def _answers(self, now: datetime) -> int:
        return await self._rows(IdempotentRow, IdempotentRow.expires_at <= now)

    async def _counters(self, now: datetime) -> int:
        return await self._rows(Counter, Counter.expires_at <= now)

    async def _events(self, now: datetime) -> int:
        ended = select(JobRow.id).where(JobRow.finished_at <= now - EVENTS_KEPT)
        return await self._rows(JobEventRow, JobEventRow.job_id.in_(ended))

    async def _jobs(self, now: datetime) -> int:
        """Jobs that ended as long ago as analyses are kept; their files, events and deliveries go with them."""
        return await self._older(JobRow, JobRow.finished_at, now)

    async def _batches(self, now: datetime) -> int:
        return await self._older(BatchRow, BatchRow.created_at, now)

    async def _older(self, table: type[Any], moment: Any, now: datetime) -> int:
        if not self._history_days:
            return 0
        return await self._rows(table, moment <= now - timedelta(days=self._history_days))

    async def _with_artifacts(self, *conditions: ColumnElement[bool]) -> Sequence[tuple[str, dict[str, str]]]:
        asked = select(AnalysisRow.id, AnalysisRow.artifacts).where(*conditions).limit(AT_ONCE)
        async with self._database.transaction() as session:
            return [(analysis_id, artifacts) for analysis_id, artifacts in await session.execute(asked)]

    async def _erase_files(self, found: Sequence[tuple[str, dict[str, str]]]) -> None:
        await self._artifacts.delete(*(name for _, artifacts in found for name in artifacts.values()))

    async def _rows(self, table: type[Any], condition: ColumnElement[bool]) -> int:
        async with self._database.transaction() as session:
            erased = await session.execute(delete(table).where(condition))
        return int(getattr(erased, "rowcount", 0))
