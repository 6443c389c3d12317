"""The database: SQLite beside the project by default, PostgreSQL by its URL. One code path for both."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from models.errors import UnmaskError

LOGGER = logging.getLogger("ray.serve")
MIGRATIONS = Path(__file__).parent / "migrations"
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
CONNECT_TIMEOUT_S = 5  # of a server: beyond it the answer is 503, and clients come again
BUSY_TIMEOUT_S = 10  # of SQLite, which lets one write at a time
POOL_SIZE = 5
READING = "unmask_reading"


class DatabaseUnavailable(UnmaskError):
    """The database does not answer, or is out of room. Nothing was stored; the same request may be sent again."""

    code = "database_unavailable"


class DatabaseError(UnmaskError):
    """The database's address is wrong, or its tables are of another version."""

    code = "database_error"


class NotStored(UnmaskError):
    """Nothing of that name is stored for whoever asks; what belongs to another is not told from what never was."""

    code = "not_found"


class Database:
    """Connections to one database. Pickles as its address: every replica makes its own."""

    def __init__(self, url: str) -> None:
        self._address = url
        self._engine: AsyncEngine = engine(parsed(url))
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        reader = self._engine.execution_options(**{READING: True})
        self._readers = async_sessionmaker(reader, expire_on_commit=False)

    def __reduce__(self) -> tuple[type["Database"], tuple[str]]:
        return Database, (self._address,)

    @property
    def embedded(self) -> bool:
        """Whether it is SQLite: a file of one machine."""
        return self._engine.dialect.name == "sqlite"

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session whose work is committed at the end of the block, or rolled back when it raises.

        Raises:
            DatabaseUnavailable: the database is away, full or busy beyond patience.
        """
        async with self._from(self._sessions) as session:
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session that only reads: on SQLite it waits for nobody who writes, and nobody waits for it.

        Raises:
            DatabaseUnavailable: the database is away.
        """
        async with self._from(self._readers) as session:
            yield session

    @asynccontextmanager
    async def _from(self, sessions: "async_sessionmaker[AsyncSession]") -> AsyncIterator[AsyncSession]:
        try:
            async with sessions.begin() as session:
                yield session
        except (DBAPIError, PoolTimeout, OSError, TimeoutError) as error:
            if is_unavailable(error):
                LOGGER.warning("the database is unavailable: %s", error)
                raise DatabaseUnavailable("The database does not answer.", "Try again shortly.") from error
            raise

    async def check(self) -> None:
        """Raises `DatabaseUnavailable` unless the database answers."""
        async with self.transaction() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()


def is_unavailable(error: BaseException) -> bool:
    """Whether an error says that the database is away, full or busy, and not that the statement was wrong."""
    if not isinstance(error, DBAPIError):
        return True  # no connection was had: refused, timed out, or none free in the pool
    state = str(getattr(error.orig, "sqlstate", None) or "")
    # 08: connection; 40: given up for another transaction; 53: disk full, too many connections; 57P: shut down,
    # starting up; 25006: read only
    if error.connection_invalidated or state[:2] in {"08", "40", "53"} or state[:3] == "57P" or state == "25006":
        return True
    words = (
        "locked",
        "busy",
        "disk is full",
        "disk I/O",
        "unable to open",
        "readonly",
        "connection is closed",
        "refused",
    )
    return any(word in str(error.orig) for word in words)


def parsed(url: str) -> URL:
    """An address with the driver that we use; raises `DatabaseError`. A relative SQLite path is made absolute."""
    try:
        found = make_url(url)
    except ArgumentError as error:
        raise DatabaseError(
            "UNMASK_DATABASE_URL is not a database's address.", "Such as postgresql://user@host/name."
        ) from error
    kind = found.drivername.partition("+")[0]
    if kind not in DRIVERS:
        raise DatabaseError(f"UNMASK_DATABASE_URL is of kind {kind!r}.", "There are: sqlite, postgresql.")
    if kind == "sqlite" and found.database and found.database != ":memory:":
        found = found.set(database=str(Path(found.database).expanduser().absolute()))
    return found.set(drivername=DRIVERS[kind])


def engine(url: URL) -> AsyncEngine:
    """An engine: SQLite in WAL mode with foreign keys, or a pool of PostgreSQL connections checked before use."""
    if url.get_backend_name() == "sqlite":
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        made = create_async_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(made.sync_engine, "connect", _prepare_sqlite)
        event.listen(made.sync_engine, "begin", _begin_writing)
        return made
    return create_async_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,  # errors are logged, and among a statement's values are secrets of webhooks
        connect_args={"timeout": CONNECT_TIMEOUT_S, "command_timeout": 30},
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, below
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):  # FULL: a job must outlive a power cut
        connection.execute(f"PRAGMA {pragma}")


def _begin_writing(connection: Any) -> None:
    # A transaction that reads and then writes would fail at once if another wrote between; this one waits its turn.
    reading = connection.get_execution_options().get(READING)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def migrate(url: str) -> None:
    """Bring a database's tables to this version, or make them. To be called once, before replicas start.

    Raises:
        DatabaseError: the address is wrong, or the tables are of a newer version than this program.
        DatabaseUnavailable: it does not answer.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = parsed(url)
    try:
        command.upgrade(config, "head")
    except (DBAPIError, OSError, TimeoutError) as error:
        raise DatabaseUnavailable(f"The database cannot be used: {error}") from error
    except CommandError as error:
        raise DatabaseError(f"The database's tables do not fit this version: {error}") from error


def insert(session: AsyncSession, table: type[DeclarativeBase]) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can say what to do on a conflict: each kind of database has its own class for it."""
    return sqlite.insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(table)
