"""Leases and answers of idempotency keys, on SQLite and PostgreSQL alike."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from serve_app import idempotency
from serve_app.database import Database
from serve_app.errors import ApiError
from serve_app.idempotency import Answer, Attempt, Idempotency, Replayed, forget
from serve_app.tables import IdempotentRow
from tests.keys import with_database

ANSWER = Answer(200, {"content-type": "application/json"}, '{"verdict": "FAKE"}')


def run(url: str, work: Callable[[Idempotency], Awaitable[Any]]) -> Any:
    return with_database(url, lambda database: work(Idempotency(database, 3600)))


def attempt(rows: Idempotency, owner: str = "alice") -> Attempt:
    return Attempt(rows, owner, "k")


async def stored(database: Database) -> IdempotentRow | None:
    async with database.transaction() as session:
        return await session.get(IdempotentRow, ("alice", "k"))


async def pass_time(rows: Idempotency, **columns: datetime) -> None:
    async with rows.database.transaction() as session:
        row = await session.get(IdempotentRow, ("alice", "k"))
        for name, moment in columns.items():
            setattr(row, name, moment)


def test_the_first_takes_the_lease_and_the_second_hears_that_it_runs(database_url: str) -> None:
    async def work(rows: Idempotency) -> None:
        assert await rows.claim(attempt(rows), "same") is None
        with pytest.raises(ApiError) as refused:
            await rows.claim(attempt(rows), "same")
        assert (refused.value.status, refused.value.code) == (409, "still_running")
        assert int(refused.value.headers["Retry-After"]) > 0

    run(database_url, work)


def test_of_many_at_once_exactly_one_takes_the_lease(database_url: str) -> None:
    async def work(rows: Idempotency) -> list[Any]:
        other = Idempotency(Database(database_url), 3600)
        try:
            tries = [each.claim(attempt(each), "same") for each in (rows, other) * 4]
            return await asyncio.gather(*tries, return_exceptions=True)
        finally:
            await other.database.close()

    outcomes = run(database_url, work)
    assert outcomes.count(None) == 1
    assert {type(outcome) for outcome in outcomes} == {type(None), ApiError}


def test_a_stored_answer_is_given_again(database_url: str) -> None:
    async def work(rows: Idempotency) -> Answer | None:
        first = attempt(rows)
        await rows.claim(first, "same")
        await first.keep(ANSWER)
        return await rows.claim(attempt(rows), "same")

    assert run(database_url, work) == ANSWER


def test_another_request_with_the_same_key_is_refused(database_url: str) -> None:
    async def work(rows: Idempotency) -> None:
        first = attempt(rows)
        await rows.claim(first, "same")
        await first.keep(ANSWER)
        with pytest.raises(ApiError) as refused:
            await rows.claim(attempt(rows), "other")
        assert (refused.value.status, refused.value.code) == (422, "idempotency_key_reused")

    run(database_url, work)


def test_the_same_key_of_another_owner_is_another_key(database_url: str) -> None:
    async def work(rows: Idempotency) -> None:
        await rows.claim(attempt(rows), "same")
        assert await rows.claim(attempt(rows, "bob"), "other") is None

    run(database_url, work)


def test_a_lease_that_ran_out_is_taken_over_and_its_old_holder_stores_nothing(database_url: str) -> None:
    async def work(rows: Idempotency) -> None:
        dead, next_one = attempt(rows), attempt(rows)
        await rows.claim(dead, "same")
        await pass_time(rows, leased_until=datetime.now(UTC) - timedelta(seconds=1))
        assert await rows.claim(next_one, "same") is None
        await dead.keep(ANSWER)
        row = await stored(rows.database)
        assert row
        assert (row.status, row.leased_by) == (None, next_one.token)

    run(database_url, work)


def test_a_killed_process_blocks_a_retry_for_ten_seconds_at_most(database_url: str) -> None:
    async def work(rows: Idempotency) -> None:
        await rows.claim(attempt(rows), "same")
        row = await stored(rows.database)
        assert row
        assert row.leased_until
        assert row.leased_until - datetime.now(UTC) <= timedelta(seconds=10)

    run(database_url, work)


def test_the_lease_is_renewed_while_the_request_runs(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "RENEW_S", 0.0)
    past = datetime.now(UTC) - timedelta(seconds=1)

    async def work(rows: Idempotency) -> None:
        aged, renewed, renew = asyncio.Event(), asyncio.Event(), rows.renew

        async def watched(running: Attempt) -> None:
            await aged.wait()
            await renew(running)
            renewed.set()

        monkeypatch.setattr(rows, "renew", watched)
        running = attempt(rows)
        await running.claim("same")
        await pass_time(rows, leased_until=past)
        aged.set()
        await renewed.wait()
        row = await stored(rows.database)
        assert row
        assert row.leased_until
        assert row.leased_until > past
        await running.close()

    run(database_url, work)


def test_a_request_that_ends_without_an_answer_gives_the_lease_back(database_url: str) -> None:
    async def work(rows: Idempotency) -> None:
        failed = attempt(rows)
        await failed.claim("same")
        await failed.close()
        assert await stored(rows.database) is None

    run(database_url, work)


def test_closing_leaves_a_stored_answer_alone(database_url: str) -> None:
    async def work(rows: Idempotency) -> None:
        done = attempt(rows)
        await done.claim("same")
        await done.keep(ANSWER)
        await done.close()
        with pytest.raises(Replayed):
            await attempt(rows).claim("same")

    run(database_url, work)


def test_a_key_whose_time_is_over_may_be_used_for_another_request(database_url: str) -> None:
    async def work(rows: Idempotency) -> None:
        first = attempt(rows)
        await rows.claim(first, "same")
        await first.keep(ANSWER)
        await pass_time(rows, expires_at=datetime.now(UTC) - timedelta(seconds=1))
        assert await rows.claim(attempt(rows), "other") is None

    run(database_url, work)


def test_kept_answers_that_say_an_id_are_forgotten_and_no_others(database_url: str) -> None:
    async def work(rows: Idempotency) -> list[str]:
        for key, said in (("k1", "ana_1x"), ("k2", "anab1x"), ("k3", "ana_2x")):
            done = Attempt(rows, "alice", key)
            await rows.claim(done, "same")
            await done.keep(Answer(200, {}, f'{{"id": "{said}"}}'))
        async with rows.database.transaction() as session:
            await forget(session, "alice", "ana_1x")
            await forget(session, "bob", "ana_2x")
            return list(await session.scalars(select(IdempotentRow.key).order_by(IdempotentRow.key)))

    assert run(database_url, work) == ["k2", "k3"]
