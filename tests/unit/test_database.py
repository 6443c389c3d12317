"""The database layer, on SQLite and PostgreSQL alike."""

import asyncio
import pickle
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from serve_app.database import Database, DatabaseError, DatabaseUnavailable, migrate, parsed
from serve_app.ids import new_id
from serve_app.tables import Counter, Table
from tests.servers import Postgres

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def counter(name: str = "a", expires_at: datetime = NOON) -> Counter:
    return Counter(name=name, amount=1, expires_at=expires_at)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()


async def add(url: str, *rows: Counter) -> None:
    async with opened(url) as database, database.transaction() as session:
        session.add_all(rows)


async def stored(url: str) -> list[Counter]:
    async with opened(url) as database, database.transaction() as session:
        return list(await session.scalars(select(Counter).order_by(Counter.name)))


def test_the_migrations_make_exactly_the_tables_of_the_program(database_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Table.metadata))

    async def ask() -> list[object]:
        async with opened(database_url) as database, database._engine.connect() as connection:
            return await connection.run_sync(differences)

    assert asyncio.run(ask()) == []


def test_migrating_again_changes_nothing(database_url: str) -> None:
    asyncio.run(add(database_url, counter()))
    migrate(database_url)
    assert [row.name for row in asyncio.run(stored(database_url))] == ["a"]


def test_tables_of_a_newer_version_are_refused(database_url: str) -> None:
    async def age() -> None:
        async with opened(database_url) as database, database.transaction() as session:
            await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    asyncio.run(age())
    with pytest.raises(DatabaseError, match="9999"):
        migrate(database_url)


def test_a_moment_comes_back_as_the_same_moment_in_utc(database_url: str) -> None:
    asyncio.run(add(database_url, counter(expires_at=NOON.astimezone(timezone(timedelta(hours=5))))))
    (found,) = asyncio.run(stored(database_url))
    assert found.expires_at == NOON


def test_what_a_failing_transaction_wrote_is_gone(database_url: str) -> None:
    async def fail() -> None:
        async with opened(database_url) as database, database.transaction() as session:
            session.add(counter())
            await session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(fail())
    assert asyncio.run(stored(database_url)) == []


def test_a_duplicate_is_not_mistaken_for_an_outage(database_url: str) -> None:
    asyncio.run(add(database_url, counter()))
    with pytest.raises(IntegrityError):
        asyncio.run(add(database_url, counter()))


def test_transactions_that_read_and_then_write_wait_for_each_other(database_url: str) -> None:
    async def add_one(database: Database) -> None:
        async with database.transaction() as session:
            row = (await session.scalars(select(Counter).with_for_update())).one()
            await asyncio.sleep(0)
            row.amount += 1

    async def many() -> None:
        async with opened(database_url) as one, opened(database_url) as other:
            await asyncio.gather(*(add_one(database) for database in (one, other) * 5))

    asyncio.run(add(database_url, counter()))
    asyncio.run(many())
    assert [row.amount for row in asyncio.run(stored(database_url))] == [11]


def test_a_database_travels_to_another_process_as_its_address(database_url: str) -> None:
    async def move() -> None:
        async with opened(database_url) as database:
            moved: Database = pickle.loads(pickle.dumps(database))  # noqa: S301 - our own bytes
            await moved.check()
            await moved.close()

    asyncio.run(move())


def test_a_server_that_went_away_is_named_as_such_and_found_again(postgres_server: Postgres) -> None:
    async def ask() -> None:
        async with opened(postgres_server.url) as database:
            await database.check()
            postgres_server.stop()
            try:
                with pytest.raises(DatabaseUnavailable):
                    await database.check()
            finally:
                postgres_server.start()
            await database.check()

    asyncio.run(ask())


def test_a_folder_that_cannot_be_written_is_an_outage_not_a_crash(tmp_path: Path) -> None:
    async def ask() -> None:
        before = set(threading.enumerate())
        try:
            await stored(f"sqlite:///{tmp_path}/unmask.db")
        finally:
            for thread in set(threading.enumerate()) - before:  # of the driver: it still reports to this loop
                await asyncio.to_thread(thread.join)

    (tmp_path / "unmask.db").mkdir()
    with pytest.raises(DatabaseUnavailable):
        asyncio.run(ask())


@pytest.mark.parametrize("url", ["", "unmask.db", "mysql://localhost/unmask"])
def test_an_address_of_no_database_that_we_know_is_refused(url: str) -> None:
    with pytest.raises(DatabaseError, match="UNMASK_DATABASE_URL"):
        parsed(url)


def test_ids_sort_by_time_and_say_what_they_are() -> None:
    made = [new_id("job") for _ in range(100)]
    assert len(set(made)) == len(made)
    assert {name[:5] for name in made} == {made[0][:5]}
    assert all(name.startswith("job_") and len(name) == 30 for name in made)


def test_what_is_logged_of_a_failure_has_no_values_in_it(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        async with opened(database_url) as database, database.transaction() as session:
            session.add(counter("whsec_secret", NOON))
            await session.flush()
            await session.execute(text("SELECT :secret FROM nowhere"), {"secret": "whsec_secret"})

    with pytest.raises(DBAPIError) as failed:
        asyncio.run(fail())
    assert "whsec_secret" not in str(failed.value) + caplog.text
