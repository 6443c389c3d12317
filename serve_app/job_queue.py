"""Jobs as runners see them: claimed with a lease, renewed, finished once.

A claim writes a token that no other claim ever has. Whatever a runner writes about a job is written in a transaction
that finds this token still in the row, which it locks: a runner that stalled until its lease ran out, and was replaced,
finds another's token, and writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from deployments.progress import Progress
from serve_app.asking import Caller
from serve_app.database import Database
from serve_app.errors import ApiError, problem_body
from serve_app.history import Also
from serve_app.ids import id_of, new_id
from serve_app.job_errors import LeaseLost
from serve_app.jobs import DONE, ENDED, FAILED, QUEUED, RUNNING, Options, close, kept_media, note_erased, tell
from serve_app.tables import AnalysisRow, JobFileRow, JobRow, UploadRow

LEASE_S = 30.0  # a database that is away for 20 s costs no job its runner; a killed runner's job waits this long
MAX_ATTEMPTS = 3  # a job that kills its runners does not go on killing them


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write about a job."""

    job_id: str
    token: str


@dataclass(frozen=True, slots=True)
class ClaimedFile:
    """A file of a claimed job that is to be analysed. An `analysis_id` is of one that was recorded already."""

    position: int
    filename: str
    source: str
    sha256: str
    analysis_id: str | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job to be worked on, and how many files it has in all."""

    lease: Lease
    caller: Caller
    options: Options
    files: tuple[ClaimedFile, ...]
    total: int


class JobQueue:
    """The jobs of a database that wait for work, or whose runner went silent."""

    def __init__(self, database: Database, lease_s: float = LEASE_S) -> None:
        self._database = database
        self.lease_s = lease_s
        self._lease = timedelta(seconds=lease_s)

    async def claim(self) -> Claimed | None:
        """A job that nobody works on, or None: the oldest of those whose owners have the fewest at work.

        One that was begun too often fails instead.
        """
        async with self._database.reading() as session:
            if (await session.scalars(select(JobRow.id).where(_waits()).limit(1))).one_or_none() is None:
                return None  # runners ask often, and mostly for nothing
        async with self._database.transaction() as session:
            while row := await self._next(session):
                if row.attempts < MAX_ATTEMPTS:
                    return await self._take(session, row)
                await _abandon(session, row)
        return None

    async def renew(self, lease: Lease, progress: Progress) -> None:
        """Prolong a lease, and tell how far the job is; raises `LeaseLost`."""
        async with self._database.transaction() as session:
            row = await held(session, lease)
            row.leased_until = datetime.now(UTC) + self._lease
            if (progress.stage, progress.fraction) != (row.stage, row.fraction):
                row.stage, row.fraction = progress.stage, max(row.fraction, progress.fraction)
                tell(session, row, "progress")

    async def check(self, lease: Lease) -> None:
        """Raises `LeaseLost` unless the lease is still held."""
        asked = select(JobRow.id).where(JobRow.id == lease.job_id, JobRow.leased_by == lease.token)
        async with self._database.reading() as session:
            if (await session.scalars(asked)).one_or_none() is None:
                raise _lost(lease)

    def recorded(self, lease: Lease, position: int, *, last: bool) -> Also:
        """What to do in the transaction that records a file's analysis; it raises `LeaseLost`.

        Where it is the `last` that is done with the file, the file is done.
        """

        async def write(session: AsyncSession, analysis: AnalysisRow) -> None:
            row = await held(session, lease)
            file = await _file(session, lease, position)
            file.analysis_id = analysis.id
            if last:
                await _end_file(session, row, file, DONE)

        return write

    async def drawing(self, lease: Lease, name: str, for_s: float) -> None:
        """Note, before it is stored, that media is drawn under a name in the artefact store.

        A sweep erases it after so many seconds, unless `file_drawn` came: the job may be cancelled meanwhile, its
        analysis deleted, its runner killed. Raises `LeaseLost`.
        """
        now = datetime.now(UTC)
        async with self._database.transaction() as session:
            await held(session, lease)
            row = UploadRow(id=id_of("upl", name), owner="", filename="", object_name=name, created_at=now)
            row.expires_at = now + timedelta(seconds=for_s)
            await session.merge(row)

    async def file_drawn(self, lease: Lease, position: int, name: str) -> bool:
        """Note that a file whose analysis was recorded is drawn, under a name in the artefact store, and so is done.

        Returns:
            Whether the analysis is still there; if not, nobody will ask for what was drawn.

        Raises:
            LeaseLost: nothing was noted.
        """
        async with self._database.transaction() as session:
            row = await held(session, lease)
            file = await _file(session, lease, position)
            asked = select(AnalysisRow).where(AnalysisRow.id == file.analysis_id).with_for_update()
            if analysis := (await session.scalars(asked)).one_or_none():  # its owner may have deleted it
                analysis.artifacts = {**analysis.artifacts, "visual": name}
                await session.execute(delete(UploadRow).where(UploadRow.object_name == name))
            await _end_file(session, row, file, DONE)
            return analysis is not None

    async def file_failed(self, lease: Lease, position: int, error: Mapping[str, Any]) -> None:
        """Note why there is no analysis of a file; raises `LeaseLost`."""
        async with self._database.transaction() as session:
            row = await held(session, lease)
            await _end_file(session, row, await _file(session, lease, position), FAILED, error)

    async def finish(self, lease: Lease) -> None:
        """End a job whose files have all ended; it failed if each of them did. Raises `LeaseLost`."""
        async with self._database.transaction() as session:
            row = await held(session, lease)
            files = await _files(session, lease.job_id)
            if any(file.state == DONE for file in files):
                await close(session, row, DONE)
            else:
                await close(session, row, FAILED, files[0].error)

    async def release(self, lease: Lease) -> None:
        """Give a job back unfinished, as when this runner is told to stop: the next one takes it up at once."""
        async with self._database.transaction() as session:
            row = await held(session, lease)
            row.leased_by = row.leased_until = None
            row.state, row.attempts = QUEUED, row.attempts - 1
            tell(session, row, "state")

    async def ended_with_media(self, limit: int = 100) -> dict[str, list[str]]:
        """Names of media of jobs that have ended, by job: what is left to erase."""
        asked = (
            select(JobFileRow.job_id, JobFileRow.source)
            .join(JobRow, JobRow.id == JobFileRow.job_id)
            .where(JobRow.state.in_(ENDED), JobFileRow.source != "", JobFileRow.source.not_like("%://%"))
            .limit(limit)
        )
        found: dict[str, list[str]] = {}
        async with self._database.reading() as session:
            for job_id, source in await session.execute(asked):
                found.setdefault(job_id, []).append(source)
        return found

    async def media_of(self, job_id: str) -> list[str]:
        """Names of a job's media that is not erased yet."""
        async with self._database.reading() as session:
            return await kept_media(session, job_id)

    async def erased(self, names: Sequence[str]) -> None:
        """Note that media is erased."""
        await note_erased(self._database, names)

    async def _next(self, session: AsyncSession) -> JobRow | None:
        asked = select(JobRow).where(_waits()).order_by(await _turn(session), JobRow.number).limit(1)
        return (await session.scalars(asked.with_for_update(skip_locked=True))).one_or_none()

    async def _take(self, session: AsyncSession, row: JobRow) -> Claimed:
        row.leased_by, row.leased_until = new_id("lea"), datetime.now(UTC) + self._lease
        row.attempts += 1
        if row.state != RUNNING:
            row.state, row.started_at = RUNNING, row.started_at or datetime.now(UTC)
            tell(session, row, "state")
        files = await _files(session, row.id)
        options = Options.from_json(row.options)
        return Claimed(
            Lease(row.id, row.leased_by),
            Caller(
                owner=row.owner,
                key_id=row.key_id,
                request_id=row.request_id,
                requests_per_minute=options.requests_per_minute,
                media_seconds_per_hour=options.media_seconds_per_hour,
            ),
            options,
            tuple(
                ClaimedFile(file.position, file.filename, file.source, file.sha256, file.analysis_id)
                for file in files
                if file.state == QUEUED
            ),
            len(files),
        )


async def _turn(session: AsyncSession) -> ColumnElement[int]:
    """By how many jobs its owner has at work: who sends a thousand does not hold up who sends one."""
    asked = select(JobRow.owner, func.count()).where(JobRow.state == RUNNING).group_by(JobRow.owner)
    at_work = {row[0]: row[1] for row in await session.execute(asked)}
    return case(at_work, value=JobRow.owner, else_=0) if at_work else literal(0)


def _waits() -> ColumnElement[bool]:
    """Whether nobody works on a job that has not ended. Clocks of nodes may differ by far less than a lease."""
    silent = and_(JobRow.state == RUNNING, JobRow.leased_until < datetime.now(UTC))
    return or_(JobRow.state == QUEUED, silent)


async def held(session: AsyncSession, lease: Lease) -> JobRow:
    """The job's row, locked until the transaction ends; raises `LeaseLost`."""
    asked = select(JobRow).where(JobRow.id == lease.job_id, JobRow.leased_by == lease.token).with_for_update()
    row = (await session.scalars(asked)).one_or_none()
    if row is None:
        raise _lost(lease)
    return row


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"{lease.job_id} was cancelled, or is another runner's now.")


async def _file(session: AsyncSession, lease: Lease, position: int) -> JobFileRow:
    return await session.get_one(JobFileRow, (lease.job_id, position))


async def _files(session: AsyncSession, job_id: str) -> list[JobFileRow]:
    asked = select(JobFileRow).where(JobFileRow.job_id == job_id).order_by(JobFileRow.position)
    return list(await session.scalars(asked))


async def _end_file(
    session: AsyncSession, row: JobRow, file: JobFileRow, state: str, error: Mapping[str, Any] | None = None
) -> None:
    file.state, file.error = state, dict(error) if error else None
    await session.flush()
    code = {"code": error["code"]} if error else {}
    analysis = {"analysis_id": file.analysis_id} if state == DONE else {}
    tell(session, row, "file", position=file.position, file_state=state, **analysis, **code)


async def _abandon(session: AsyncSession, row: JobRow) -> None:
    answer = ApiError(
        500,
        "job_abandoned",
        f"The job was begun {row.attempts} times, and its runner died each time.",
        suggestions=["Send its files one by one to see which it is", "Encode them anew"],
    )
    error = problem_body(answer, f"/v1/jobs/{row.id}", row.request_id)
    for file in await _files(session, row.id):
        if file.state == QUEUED:
            await _end_file(session, row, file, FAILED, error)
    await close(session, row, FAILED, error)
    await session.flush()
