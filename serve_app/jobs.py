"""Jobs as their owners see them: made, found, listed, followed, cancelled. Runners see them in `job_queue`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from serve_app.asking import Ask, Caller
from serve_app.database import Database
from serve_app.errors import timestamp
from serve_app.ids import new_id
from serve_app.job_errors import UnknownJob
from serve_app.tables import AnalysisRow, DeliveryRow, JobEventRow, JobFileRow, JobRow, UploadRow
from serve_app.upload_errors import NoSuchUpload
from serve_app.uploads import MAX_NAME_CHARACTERS, base_name
from serve_app.uploads_direct import owned

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
ENDED = frozenset({DONE, FAILED, CANCELLED})
PENDING = "pending"  # of a delivery
RESERVED_FOR = timedelta(hours=1)  # media of a job that is being received; what nobody claims then is swept away


@dataclass(frozen=True, slots=True)
class Options:
    """What a job does with each of its files, and on whose account."""

    ask: Ask
    visualize: bool = False
    route: str = "/v1/jobs"
    requests_per_minute: int | None = None
    media_seconds_per_hour: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Options":
        """From what `to_json` made."""
        return cls(**{**kept, "ask": Ask(**kept["ask"])})


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file to be analysed. `source` is a name in the artefact store, or an address. With an `error` it has failed."""

    filename: str
    source: str
    sha256: str = ""
    size_bytes: int = 0
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be made. Its sources that were reserved under `uploads` become its own."""

    id: str
    options: Options
    files: Sequence[JobFile]
    webhook: Mapping[str, str] | None = None
    uploads: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job; numbers of one job's events increase."""

    number: int
    event: str
    data: dict[str, Any]


class Jobs:
    """The jobs of a database, asked for one owner at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, caller: Caller, names: Sequence[str]) -> list[str]:
        """Note that files of those names will be stored; the uploads' ids. A sweep removes what no job took."""
        rows = [_reserved(caller.owner, name) for name in names]
        async with self._database.transaction() as session:
            session.add_all(rows)
        return [row.id for row in rows]

    async def uploaded(self, caller: Caller, upload_id: str) -> JobFile:
        """The file that was uploaded under an id; raises `NoSuchUpload`."""
        async with self._database.reading() as session:
            row = await owned(session, caller.owner, upload_id)
            return JobFile(row.filename, row.object_name)

    async def create(self, caller: Caller, new: NewJob) -> dict[str, Any]:
        """Keep a job, to be taken up by a runner; its body. Durable when this returns.

        Raises:
            NoSuchUpload: one of its uploads is not there any more, as when another job was faster.
        """
        async with self._database.transaction() as session:
            for upload in new.uploads:
                taken = await session.execute(
                    delete(UploadRow).where(UploadRow.id == upload, UploadRow.owner == caller.owner)
                )
                if not taken.rowcount:  # type: ignore[attr-defined]
                    raise NoSuchUpload(f"There is no upload {upload[:40]!r} any more.", "Upload the file again.")
            row = _row(caller, new)
            session.add(row)
            await session.flush()
            session.add_all(_file(new.id, i, file) for i, file in enumerate(new.files))
            tell(session, row, "state")
            await session.flush()
            return await body_of(session, row)

    async def existing(self, owner: str, job_id: str) -> dict[str, Any] | None:
        """A job's body, or None."""
        try:
            return await self.find(owner, job_id)
        except UnknownJob:
            return None

    async def find(self, owner: str, job_id: str) -> dict[str, Any]:
        """A job's body, as `JobBody`; raises `UnknownJob`."""
        async with self._database.reading() as session:
            return await body_of(session, await _own(session, owner, job_id))

    async def page(
        self, owner: str, before: int | None, limit: int, state: str = ""
    ) -> tuple[list[dict[str, Any]], int]:
        """Up to `limit` bodies, newest first, older than the number `before`; and the number to go on from, or 0."""
        asked = select(JobRow).where(JobRow.owner == owner).order_by(JobRow.number.desc()).limit(limit + 1)
        if before is not None:
            asked = asked.where(JobRow.number < before)
        if state:
            asked = asked.where(JobRow.state == state)
        async with self._database.reading() as session:
            rows = list(await session.scalars(asked))
            shown = rows[:limit]
            return [await body_of(session, row) for row in shown], shown[-1].number if len(rows) > limit else 0

    async def events(self, owner: str, job_id: str, after: int) -> tuple[list[Event], bool]:
        """What happened after the event of that number, and whether the job has ended; raises `UnknownJob`."""
        asked = select(JobEventRow).where(JobEventRow.job_id == job_id, JobEventRow.number > after)
        async with self._database.reading() as session:
            row = await _own(session, owner, job_id)
            found = await session.scalars(asked.order_by(JobEventRow.number))
            return [Event(event.number, event.event, event.data) for event in found], row.state in ENDED

    async def cancel(self, owner: str, job_id: str) -> tuple[dict[str, Any], list[str]]:
        """End a job that has not ended; its body, and the names of its media, which are to be erased.

        Whoever works on it sees within a second that its lease is gone. Raises `UnknownJob`.
        """
        async with self._database.transaction() as session:
            row = await _own(session, owner, job_id, lock=True)
            if row.state not in ENDED:
                waiting = (JobFileRow.job_id == job_id, JobFileRow.state == QUEUED)
                await session.execute(update(JobFileRow).where(*waiting).values(state=CANCELLED))
                await close(session, row, CANCELLED)
            return await body_of(session, row), await kept_media(session, job_id)

    async def erased(self, names: Sequence[str]) -> None:
        """Note that media is erased."""
        await note_erased(self._database, names)


async def close(session: AsyncSession, row: JobRow, state: str, error: Mapping[str, Any] | None = None) -> None:
    """End a job that is locked: nobody holds it any more, its last event is told, its webhook is to be sent."""
    row.state, row.error = state, dict(error) if error else None
    row.finished_at = datetime.now(UTC)
    row.leased_by = row.leased_until = None
    if state == DONE:
        row.stage, row.fraction = DONE, 1.0
    tell(session, row, "end")
    await session.flush()
    if row.webhook:
        payload = {"type": f"job.{state}", "timestamp": timestamp(), "data": await body_of(session, row)}
        session.add(_delivery(row.id, payload))


def tell(session: AsyncSession, row: JobRow, event: str, **more: Any) -> None:
    """Note an event of a job that is locked: so a job's events are committed in the order of their numbers."""
    data = {"state": row.state, "stage": row.stage, "fraction": row.fraction, **more}
    session.add(JobEventRow(job_id=row.id, at=datetime.now(UTC), event=event, data=data))


async def kept_media(session: AsyncSession, job_id: str) -> list[str]:
    """Names in the artefact store of a job's media that is not erased yet."""
    asked = select(JobFileRow.source).where(JobFileRow.job_id == job_id, JobFileRow.source != "")
    return [source for source in await session.scalars(asked) if not is_address(source)]


async def note_erased(database: Database, names: Sequence[str]) -> None:
    """Note that media of those names is not in the artefact store any more."""
    async with database.transaction() as session:
        await session.execute(update(JobFileRow).where(JobFileRow.source.in_(names)).values(source=""))


def base_name_of(address: str) -> str:
    """What a file is called that an address names: the last part of its path."""
    return base_name(unquote(urlsplit(address).path, errors="replace"))


def is_address(source: str) -> bool:
    """Whether a file's source is an address, not a name in the artefact store."""
    return "://" in source


async def body_of(session: AsyncSession, row: JobRow) -> dict[str, Any]:
    """A job as `JobBody` tells it."""
    asked = (
        select(JobFileRow, AnalysisRow.verdict, AnalysisRow.p_fake)
        .outerjoin(AnalysisRow, AnalysisRow.id == JobFileRow.analysis_id)
        .where(JobFileRow.job_id == row.id)
        .order_by(JobFileRow.position)
    )
    files = [_file_body(*found) for found in await session.execute(asked)]
    return {
        "id": row.id,
        "state": row.state,
        "stage": row.stage,
        "fraction": row.fraction,
        "created_at": timestamp(row.created_at),
        "started_at": timestamp(row.started_at) if row.started_at else None,
        "finished_at": timestamp(row.finished_at) if row.finished_at else None,
        "model": row.options["ask"]["model"],
        "files": files,
        "webhook": row.webhook is not None,
        "error": row.error,
        "links": {"self": f"/v1/jobs/{row.id}", "events": f"/v1/jobs/{row.id}/events"},
    }


def _file_body(row: JobFileRow, verdict: str | None, p_fake: float | None) -> dict[str, Any]:
    return {
        "position": row.position,
        "filename": row.filename,
        "state": row.state,
        "analysis_id": row.analysis_id,
        "verdict": verdict,
        "p_fake": p_fake,
        "error": row.error,
    }


async def _own(session: AsyncSession, owner: str, job_id: str, *, lock: bool = False) -> JobRow:
    asked = select(JobRow).where(JobRow.id == job_id, JobRow.owner == owner)
    # PostgreSQL refuses a text with a NUL in it; no id has one.
    known = job_id.isprintable()
    row = (await session.scalars(asked.with_for_update() if lock else asked)).one_or_none() if known else None
    if row is None:
        raise UnknownJob(f"There is no job {job_id[:40]!r}.", "GET /v1/jobs lists yours.")
    return row


def _row(caller: Caller, new: NewJob) -> JobRow:
    return JobRow(
        id=new.id,
        owner=caller.owner,
        key_id=caller.key_id,
        request_id=caller.request_id[:MAX_NAME_CHARACTERS],  # clients choose it
        created_at=datetime.now(UTC),
        state=QUEUED,
        stage="waiting",
        fraction=0.0,
        options=new.options.to_json(),
        webhook=dict(new.webhook) if new.webhook else None,
        attempts=0,
    )


def _reserved(owner: str, name: str) -> UploadRow:
    now = datetime.now(UTC)
    return UploadRow(
        id=new_id("upl"), owner=owner, filename="", object_name=name, created_at=now, expires_at=now + RESERVED_FOR
    )


def _file(job_id: str, position: int, file: JobFile) -> JobFileRow:
    return JobFileRow(
        job_id=job_id,
        position=position,
        filename=file.filename,
        source=file.source,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        state=FAILED if file.error else QUEUED,
        error=dict(file.error) if file.error else None,
    )


def _delivery(job_id: str, payload: dict[str, Any]) -> DeliveryRow:
    return DeliveryRow(
        id=new_id("whk"),
        job_id=job_id,
        state=PENDING,
        payload=payload,
        attempts=0,
        due_at=datetime.now(UTC),
        answered="",
    )
