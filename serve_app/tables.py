"""The tables: keys, analyses, jobs, what is to be sent, and what was asked with which idempotency key.

Changing one takes a migration in `migrations/versions`; a test compares the two. Times are UTC. `owner` is whose key
asked: every question that a route asks of these tables is asked for one owner.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Id = String(40)
Name = String(255)
Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only a column of its own integer type


class Moment(TypeDecorator[datetime]):
    """A moment, with its time zone on both sides: SQLite keeps none, so it is kept in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To the database."""
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database."""
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class Table(DeclarativeBase):
    """Base of the tables."""

    type_annotation_map = {datetime: Moment(), dict[str, Any]: JSON(), list[str]: JSON()}  # noqa: RUF012


class Key(Table):
    """An API key. The key itself is not kept, only its SHA-256: it has 256 random bits, so nothing slower is needed."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    owner: Mapped[str] = mapped_column(Name, index=True)
    name: Mapped[str] = mapped_column(Name, default="")
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    requests_per_minute: Mapped[int | None]
    media_seconds_per_hour: Mapped[int | None]


class Counter(Table):
    """How much of a rate limit is used up. Shared by all replicas."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(Name, primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class AnalysisRow(Table):
    """One finished analysis. `body` is the `VerdictBody` without its pictures, which are artefacts.

    `answered_by` identifies everything beside the file that the answer depends on (see `Analyst.answered_by`): an
    analysis of the same file with the same is reused. `artifacts` are names in the artefact store, by what they are.
    """

    __tablename__ = "analyses"
    __table_args__ = (
        Index("analyses_same", "owner", "sha256", "answered_by"),
        Index("analyses_of_owner", "owner", "number"),
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(Id, unique=True)
    owner: Mapped[str] = mapped_column(Name)
    key_id: Mapped[str] = mapped_column(Id)
    request_id: Mapped[str] = mapped_column(Name)
    created_at: Mapped[datetime] = mapped_column(index=True)
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    route: Mapped[str] = mapped_column(Name)
    filename: Mapped[str] = mapped_column(Name)
    kind: Mapped[str] = mapped_column(String(10))
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    duration_s: Mapped[float] = mapped_column(Float)
    model: Mapped[str] = mapped_column(Text)
    answered_by: Mapped[str] = mapped_column(String(64))
    verdict: Mapped[str] = mapped_column(String(12), index=True)
    p_fake: Mapped[float | None] = mapped_column(Float)
    confidence: Mapped[float] = mapped_column(Float)
    reason_code: Mapped[str] = mapped_column(String(40))
    degraded: Mapped[bool]
    total_s: Mapped[float] = mapped_column(Float)
    reused_from: Mapped[str | None] = mapped_column(Id)
    batch_id: Mapped[str | None] = mapped_column(Id, index=True)
    job_id: Mapped[str | None] = mapped_column(Id, index=True)
    body: Mapped[dict[str, Any]] = mapped_column(deferred=True, deferred_raiseload=True)
    artifacts: Mapped[dict[str, Any]]


class BatchRow(Table):
    """Many files that were sent at once."""

    __tablename__ = "batches"

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(Id, unique=True)
    owner: Mapped[str] = mapped_column(Name, index=True)
    created_at: Mapped[datetime]
    total: Mapped[int]
    successful: Mapped[int]
    failed: Mapped[int]


class JobRow(Table):
    """A job. Who works on it holds the lease, and renews it; after `leased_until` another may take it.

    `state` is queued, running, done, failed or cancelled. `options` are a `jobs.Ask`. `webhook` is `{url, secret}`.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_waiting", "state", "leased_until"), Index("jobs_of_owner", "owner", "number"))

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(Id, unique=True)
    owner: Mapped[str] = mapped_column(Name)
    key_id: Mapped[str] = mapped_column(Id)
    request_id: Mapped[str] = mapped_column(Name)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(String(10))
    stage: Mapped[str] = mapped_column(String(20))
    fraction: Mapped[float] = mapped_column(Float)
    options: Mapped[dict[str, Any]]
    webhook: Mapped[dict[str, Any] | None]
    attempts: Mapped[int]
    leased_by: Mapped[str | None] = mapped_column(Id)
    leased_until: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]


class JobFileRow(Table):
    """One file of a job. `source` is a name in the artefact store or an address, `analysis_id` or `error` its end."""

    __tablename__ = "job_files"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    filename: Mapped[str] = mapped_column(Name)
    source: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(10))
    analysis_id: Mapped[str | None] = mapped_column(Id)
    error: Mapped[dict[str, Any] | None]


class JobEventRow(Table):
    """What happened to a job, in order: what server-sent events resume from."""

    __tablename__ = "job_events"

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime]
    event: Mapped[str] = mapped_column(String(20))
    data: Mapped[dict[str, Any]]


class DeliveryRow(Table):
    """A webhook to be sent, or sent. `leased_until` as for jobs."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("deliveries_due", "state", "due_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(String(10))
    payload: Mapped[dict[str, Any]]
    attempts: Mapped[int]
    due_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    answered: Mapped[str] = mapped_column(Text)


class UploadRow(Table):
    """A place for media that does not pass the ingress: `object_name` in the artefact store, until a job takes it."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    owner: Mapped[str] = mapped_column(Name)
    filename: Mapped[str] = mapped_column(Name)
    object_name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class IdempotentRow(Table):
    """What was asked with an idempotency key, and what was answered; without an answer while `leased_until`."""

    __tablename__ = "idempotent"

    owner: Mapped[str] = mapped_column(Name, primary_key=True)
    key: Mapped[str] = mapped_column(Name, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    leased_by: Mapped[str | None] = mapped_column(Id)
    leased_until: Mapped[datetime | None]
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[str | None] = mapped_column(Text)
