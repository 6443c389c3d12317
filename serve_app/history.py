"""History: what was analysed for whom, what came of it, and what of it can be answered again.

Every question is asked for one owner: what belongs to another is not found, as if it did not exist.
"""

import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from models.errors import UnmaskError
from serve_app import pictures
from serve_app.artifacts import Artifacts, StorageFull, StorageUnavailable
from serve_app.asking import Origin
from serve_app.database import Database, NotStored
from serve_app.idempotency import forget
from serve_app.schemas import VerdictBody
from serve_app.settings import Settings
from serve_app.statistics import Statistics, question, summed
from serve_app.tables import AnalysisRow, BatchRow

LOGGER = logging.getLogger("ray.serve")
PICTURES = "pictures"  # what the artefact is, in a row's `artifacts`; `visual` is the annotated media
NAME_CHARACTERS = 255  # of a column for names
EXPORT_ROWS = 200  # read at once: a row with its timeline is some 20 kB
LARGEST_NUMBER = 2**63 - 1

Also = Callable[[AsyncSession, AnalysisRow], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished analysis, before it is recorded.

    Attributes:
        id: made beforehand, so that recording it twice is noticed.
        verdict: what is answered.
        filename: as the client named it.
        sha256: of the file.
        answered_by: everything beside the file that the verdict depends on, see `Analyst.answered_by`.
        origin: who asked, where.
        reused_from: the analysis whose verdict this one repeats.
    """

    id: str
    verdict: VerdictBody
    filename: str
    sha256: str
    answered_by: str
    origin: Origin
    reused_from: str | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which analyses; an empty one takes all. `since` is included, `until` is not; `filename` is a part of the name."""

    verdict: str = ""
    kind: str = ""
    model: str = ""
    sha256: str = ""
    filename: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same in the database's terms."""
        equal = {name: getattr(self, name) for name in ("verdict", "kind", "model", "sha256")}
        found = [getattr(AnalysisRow, name) == value for name, value in equal.items() if value]
        if self.filename:
            found.append(AnalysisRow.filename.icontains(self.filename, autoescape=True))
        if self.since:
            found.append(AnalysisRow.created_at >= self.since)
        if self.until:
            found.append(AnalysisRow.created_at < self.until)
        return found


@dataclass(frozen=True, slots=True)
class Page:
    """Some analyses, newest first, and where the next page begins; empty after the last."""

    rows: list[AnalysisRow]
    next_cursor: str = ""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An analysis whose verdict can be answered again; `id` is of the one for which the work was done."""

    id: str
    verdict: VerdictBody


class History:
    """Reads and writes the tables of analyses and batches. All methods raise `DatabaseUnavailable` when it is away."""

    def __init__(self, database: Database, artifacts: Artifacts, settings: Settings) -> None:
        self._database, self._artifacts = database, artifacts
        self._kept = timedelta(days=settings.history_days) if settings.history_days else None

    async def check(self) -> None:
        """Raises `DatabaseUnavailable` unless an analysis could be recorded now."""
        await self._database.check()

    async def record(self, finished: Finished, also: Also | None = None) -> AnalysisRow:
        """Write one analysis; doing it again with the same id changes nothing.

        Args:
            finished: what to write.
            also: writes more in the same transaction. What it raises undoes both and reaches the caller.

        Where the artefact store is away or full, the pictures stay in the row.
        """
        body = finished.verdict.model_dump(mode="json")
        artifacts = await self._pictures_kept(finished.id, body)
        try:
            return await self._record(self._row(finished, body, artifacts), also)
        except BaseException:
            with suppress(UnmaskError):
                await self._artifacts.delete(*artifacts.values())
            raise

    async def _record(self, row: AnalysisRow, also: Also | None) -> AnalysisRow:
        async with self._database.transaction() as session:
            seen = await session.scalar(_whole().where(AnalysisRow.id == row.id))
            if seen:
                return seen  # an earlier try was committed, and only its answer was lost
            session.add(row)
            await session.flush()
            if also:
                await also(session, row)
        return row

    async def _pictures_kept(self, analysis_id: str, body: dict[str, Any]) -> dict[str, Any]:
        name = pictures.name_of(analysis_id)
        try:
            return {PICTURES: name} if await pictures.keep(self._artifacts, name, body) else {}
        except (StorageUnavailable, StorageFull):
            LOGGER.warning("the pictures of %s are kept in the database", analysis_id)
            return {}

    async def same(self, owner: str, sha256: str, answered_by: str) -> Earlier | None:
        """The newest whole answer to the same question about the same file, if its pictures are at hand."""
        asked = (AnalysisRow.owner == owner, AnalysisRow.sha256 == sha256, AnalysisRow.answered_by == answered_by)
        fit = AnalysisRow.degraded.is_(False)
        async with self._database.transaction() as session:
            row = await session.scalar(_whole().where(*asked, fit).order_by(AnalysisRow.number.desc()).limit(1))
        if row is None:
            return None
        try:
            whole, body = await self._body(row)
            return Earlier(row.reused_from or row.id, VerdictBody.model_validate(body)) if whole else None
        except (StorageUnavailable, ValidationError):
            return None  # the work is done again

    async def verdict(self, row: AnalysisRow) -> VerdictBody:
        """The verdict of a row that was read with its body; pictures that were erased are empty.

        Raises:
            StorageUnavailable: the pictures cannot be read now.
        """
        _, body = await self._body(row)
        return VerdictBody.model_validate(body)

    async def _body(self, row: AnalysisRow) -> tuple[bool, dict[str, Any]]:
        """Whether it is whole, and the body with its pictures."""
        body: dict[str, Any] = json.loads(json.dumps(row.body))  # pictures are put into a copy
        name = row.artifacts.get(PICTURES)
        return (await pictures.put_back(self._artifacts, name, body) if name else True), body

    async def get(self, owner: str, analysis_id: str) -> AnalysisRow:
        """One analysis with its body; raises `NotStored`."""
        if not analysis_id.isprintable():  # PostgreSQL refuses a text with a NUL in it; no id has one
            raise no_analysis(analysis_id)
        async with self._database.transaction() as session:
            found = await session.scalar(_whole().where(*_own(owner, analysis_id)))
        if found is None:
            raise no_analysis(analysis_id)
        return found

    async def page(self, owner: str, filters: Filters, limit: int, before: int | None = None) -> Page:
        """`limit` analyses, newest first, without their bodies; those before the number that a cursor gave."""
        older = () if before is None else (AnalysisRow.number < before,)
        rows = await self._rows(limit + 1, AnalysisRow.owner == owner, *filters.conditions(), *older)
        more = len(rows) > limit
        return Page(rows[:limit], cursor_of(rows[limit - 1].number) if more else "")

    async def export(self, owner: str, filters: Filters) -> AsyncIterator[AnalysisRow]:
        """Every analysis with its body, newest first; read in pieces, so that no transaction is held open."""
        before = LARGEST_NUMBER
        while True:
            conditions = (AnalysisRow.owner == owner, AnalysisRow.number < before, *filters.conditions())
            async with self._database.transaction() as session:
                asked = _whole().where(*conditions).order_by(AnalysisRow.number.desc()).limit(EXPORT_ROWS)
                rows = list(await session.scalars(asked))
            for row in rows:
                yield row
            if len(rows) < EXPORT_ROWS:
                return
            before = rows[-1].number

    async def delete(self, owner: str, analysis_id: str) -> None:
        """Erase one analysis, its artefacts, and the answers that are kept for idempotency keys.

        Raises:
            NotStored: there is none.
            StorageUnavailable: the artefacts cannot be erased now; the row is kept, so that it can be tried again.
        """
        row = await self.get(owner, analysis_id)
        await self._artifacts.delete(*row.artifacts.values())
        async with self._database.transaction() as session:
            await session.execute(delete(AnalysisRow).where(*_own(owner, analysis_id)))
            await forget(session, owner, analysis_id)

    async def attach(self, owner: str, analysis_id: str, what: str, name: str) -> None:
        """Note an artefact of an analysis, such as `visual`, under its name in the store; raises `NotStored`."""
        async with self._database.transaction() as session:
            row = await session.scalar(select(AnalysisRow).where(*_own(owner, analysis_id)).with_for_update())
            if row is None:
                raise no_analysis(analysis_id)
            row.artifacts = {**row.artifacts, what: name}

    async def statistics(self, owner: str, filters: Filters | None = None) -> Statistics:
        """Figures over an owner's analyses, of all or of some."""
        conditions = (AnalysisRow.owner == owner, *(filters or Filters()).conditions())
        async with self._database.transaction() as session:
            return summed((await session.execute(question(conditions, embedded=self._database.embedded))).all())

    async def recent(self, owner: str, limit: int) -> Sequence[AnalysisRow]:
        """The newest analyses, without their bodies."""
        return await self._rows(limit, AnalysisRow.owner == owner)

    async def by_label(self, owner: str, label: str, limit: int) -> Sequence[AnalysisRow]:
        """The newest analyses of one verdict, without their bodies."""
        return await self._rows(limit, AnalysisRow.owner == owner, AnalysisRow.verdict == label.upper())

    async def by_number(self, owner: str, number: int) -> AnalysisRow:
        """The analysis of that number, without its body; raises `NotStored`."""
        inside = 0 < number <= LARGEST_NUMBER
        rows = await self._rows(1, AnalysisRow.owner == owner, AnalysisRow.number == number) if inside else []
        if not rows:
            raise no_analysis(str(number))
        return rows[0]

    async def of_batch(self, owner: str, batch_id: str) -> Sequence[AnalysisRow]:
        """The analyses of one batch, newest first, without their bodies."""
        return await self._rows(None, AnalysisRow.owner == owner, AnalysisRow.batch_id == batch_id)

    async def record_batch(self, owner: str, batch_id: str, *, successful: int, failed: int) -> BatchRow:
        """Write one batch, whose id was made beforehand."""
        row = BatchRow(id=batch_id, owner=owner, created_at=datetime.now(UTC))
        row.total, row.successful, row.failed = successful + failed, successful, failed
        async with self._database.transaction() as session:
            session.add(row)
        return row

    async def batches(self, owner: str, limit: int) -> Sequence[BatchRow]:
        """The newest batches."""
        asked = select(BatchRow).where(BatchRow.owner == owner).order_by(BatchRow.number.desc()).limit(limit)
        async with self._database.transaction() as session:
            return list(await session.scalars(asked))

    async def _rows(self, limit: int | None, *conditions: ColumnElement[bool]) -> list[AnalysisRow]:
        asked = select(AnalysisRow).where(*conditions).order_by(AnalysisRow.number.desc()).limit(limit)
        async with self._database.transaction() as session:
            return list(await session.scalars(asked))

    def _row(self, finished: Finished, body: dict[str, Any], artifacts: dict[str, Any]) -> AnalysisRow:
        verdict, caller, now = finished.verdict, finished.origin.caller, datetime.now(UTC)
        copied = ("model", "verdict", "p_fake", "confidence", "reason_code", "degraded")
        return AnalysisRow(
            id=finished.id,
            owner=caller.owner,
            key_id=caller.key_id,
            request_id=_named(caller.request_id),
            created_at=now,
            expires_at=now + self._kept if self._kept else None,
            route=_named(finished.origin.route),
            filename=_named(finished.filename),
            kind=verdict.media.kind,
            sha256=finished.sha256,
            size_bytes=verdict.media.size_bytes,
            duration_s=verdict.media.duration_s,
            answered_by=finished.answered_by,
            total_s=verdict.timings.total_s,
            reused_from=finished.reused_from,
            batch_id=finished.origin.batch_id,
            job_id=finished.origin.job_id,
            body=body,
            artifacts=artifacts,
            **{name: getattr(verdict, name) for name in copied},
        )


def cursor_of(number: int) -> str:
    """Where the page after the row of that number begins. Opaque to clients."""
    return base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")


def number_of(cursor: str) -> int:
    """The number in a cursor; raises `ValueError`."""
    number = int(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    if not 0 <= number <= LARGEST_NUMBER:
        raise ValueError(cursor)
    return number


def no_analysis(name: str) -> NotStored:
    """The error for an analysis that does not exist, or is another's: the two are not told apart."""
    return NotStored(f"There is no analysis {name[:64]!r}.", "It may have been deleted, or have expired.")


def _own(owner: str, analysis_id: str) -> tuple[ColumnElement[bool], ...]:
    return AnalysisRow.owner == owner, AnalysisRow.id == analysis_id


def _whole() -> Select[AnalysisRow]:
    """A question for rows with their bodies, which are large: others leave them out."""
    return select(AnalysisRow).options(undefer(AnalysisRow.body))


def _named(text: str) -> str:
    """A client's text as a column takes it: PostgreSQL refuses longer ones, and NUL."""
    return text.replace("\0", "")[:NAME_CHARACTERS]
