"""Rate limits, on SQLite and PostgreSQL alike."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from serve_app.asking import Caller
from serve_app.database import Database
from serve_app.errors import ApiError
from serve_app.quotas import CounterStorage, Quotas, Standing, headers_of
from serve_app.settings import Settings
from serve_app.tables import Counter
from tests.keys import with_database

SETTINGS = Settings(_env_file=None, UNMASK_REQUESTS_PER_MINUTE=3, UNMASK_MEDIA_SECONDS_PER_HOUR=100)  # type: ignore[call-arg]
ALICE = Caller("alice", "key_a")


def run(url: str, work: Callable[[Quotas], Awaitable[Any]], settings: Settings = SETTINGS) -> Any:
    return with_database(url, lambda database: work(Quotas(database, settings)))


async def let_windows_end(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(update(Counter).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))


def test_counting_at_once_from_several_replicas_loses_nothing(database_url: str) -> None:
    async def work(database: Database) -> int:
        other = Database(database_url)
        try:
            storages = (CounterStorage(database), CounterStorage(other))
            await asyncio.gather(*(storage.incr("a", 60, 2) for storage in storages * 10))
            return await storages[0].get("a")
        finally:
            await other.close()

    assert with_database(database_url, work) == 40


def test_a_counter_begins_anew_when_its_window_is_over(database_url: str) -> None:
    async def work(database: Database) -> tuple[int, int]:
        storage = CounterStorage(database)
        await storage.incr("a", 60, 5)
        await let_windows_end(database)
        return await storage.get("a"), await storage.incr("a", 60, 2)

    assert with_database(database_url, work) == (0, 2)


def test_a_window_ends_when_it_was_going_to_however_much_is_counted(database_url: str) -> None:
    async def work(database: Database) -> None:
        storage = CounterStorage(database)
        await storage.incr("a", 60)
        first = await storage.get_expiry("a")
        await storage.incr("a", 60)
        assert await storage.get_expiry("a") == first

    with_database(database_url, work)


def test_counters_can_be_forgotten_one_by_one_and_all(database_url: str) -> None:
    async def work(database: Database) -> None:
        storage = CounterStorage(database)
        for name in ("a", "b", "c"):
            await storage.incr(name, 60)
        await storage.clear("a")
        assert (await storage.get("a"), await storage.get("b")) == (0, 1)
        assert await storage.reset() == 2
        assert await storage.check()

    with_database(database_url, work)


def test_the_request_above_the_limit_is_refused_until_the_window_ends(database_url: str) -> None:
    async def work(quotas: Quotas) -> None:
        for _ in range(3):
            await quotas.count(ALICE)
        with pytest.raises(ApiError) as refused:
            await quotas.count(ALICE)
        assert (refused.value.status, refused.value.code) == (429, "rate_limited")
        assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
        assert refused.value.extra == {"violated-policies": ["requests"]}

    run(database_url, work)


def test_media_beyond_the_limit_refuses_the_next_analysis_not_the_one_that_was_done(database_url: str) -> None:
    async def work(quotas: Quotas) -> None:
        await quotas.charge(ALICE, 99.0)
        await quotas.check(ALICE)
        await quotas.charge(ALICE, 500.0)
        with pytest.raises(ApiError, match="rate_limited") as refused:
            await quotas.check(ALICE)
        assert refused.value.extra == {"violated-policies": ["media"]}
        assert 1 <= int(refused.value.headers["Retry-After"]) <= 3600

    run(database_url, work)


@pytest.mark.parametrize(("seconds", "counted"), [(0.0, 1), (0.2, 1), (1.0, 1), (9.1, 10)])
def test_media_counts_in_whole_seconds_and_at_least_one(database_url: str, seconds: float, counted: int) -> None:
    async def work(quotas: Quotas) -> int:
        await quotas.charge(ALICE, seconds)
        standings: tuple[Standing, ...] = await quotas.standings(ALICE)
        return standings[1].remaining

    assert run(database_url, work) == 100 - counted


def test_each_key_has_its_own_window_and_its_own_limit(database_url: str) -> None:
    async def work(quotas: Quotas) -> None:
        for _ in range(3):
            await quotas.count(ALICE)
        await quotas.count(Caller("alice", "key_b"))
        await quotas.count(Caller("alice", "key_a", requests_per_minute=10))

    run(database_url, work)


@pytest.mark.parametrize("caller", [Caller(), Caller("alice", "key_a", frozenset(), "", 0, 0)])
def test_the_operators_key_and_keys_without_limits_are_never_refused(database_url: str, caller: Caller) -> None:
    async def work(quotas: Quotas) -> tuple[Standing, ...]:
        for _ in range(5):
            await quotas.count(caller)
            await quotas.charge(caller, 1000.0)
            await quotas.check(caller)
        return await quotas.standings(caller)

    assert run(database_url, work) == ()


def test_media_of_a_job_counts_though_its_caller_brings_no_limits(database_url: str) -> None:
    async def work(quotas: Quotas) -> None:
        await quotas.charge(Caller("alice", "key_a"), 50.0)
        with pytest.raises(ApiError):
            await quotas.check(Caller("alice", "key_a", media_seconds_per_hour=50))

    run(database_url, work)


def test_the_headers_say_quota_window_rest_and_reset() -> None:
    standings = (Standing("requests", 600, 60, 599, 42), Standing("media", 36000, 3600, 35990, 1800))
    assert headers_of(standings) == {
        "RateLimit-Policy": '"requests";q=600;w=60, "media";q=36000;w=3600;qu="media-seconds"',
        "RateLimit": '"requests";r=599;t=42, "media";r=35990;t=1800',
    }
    assert headers_of(()) == {}
