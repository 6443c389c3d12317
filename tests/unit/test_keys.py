"""Keys, on SQLite and PostgreSQL alike."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import text

from serve_app.asking import Caller
from serve_app.key_errors import UnknownKey, WrongKeyOptions
from serve_app.keys import KeyOptions, Keys, NewKey
from serve_app.tables import Key
from tests.keys import make_key, with_database


def found(url: str, secret: str) -> Caller | None:
    return with_database(url, lambda database: Keys(database).find(secret))


def kept(url: str, key_id: str) -> Key:
    return with_database(url, lambda database: Keys(database).get(key_id))


def end(url: str, made: NewKey) -> None:
    """Let a key's time pass."""

    async def set_back(database: Any) -> None:
        async with database.transaction() as session:
            row = await session.get(Key, made.row.id)
            row.expires_at = datetime.now(UTC) - timedelta(seconds=1)

    with_database(url, set_back)


def test_a_key_is_found_by_what_was_shown_with_all_that_it_was_made_with(database_url: str) -> None:
    made = make_key(database_url, "alice", ["read", "analyze"], requests_per_minute=7, media_seconds_per_hour=90)
    expected = Caller("alice", made.row.id, frozenset({"analyze", "read"}), "", 7, 90)
    assert found(database_url, made.secret) == expected


def test_nothing_of_the_secret_is_in_the_database(database_url: str) -> None:
    made = make_key(database_url, name="desk")

    async def everything(database: Any) -> str:
        async with database.transaction() as session:
            return str((await session.execute(text("SELECT * FROM keys"))).all())

    assert made.secret.removeprefix("unm_") not in with_database(database_url, everything)


@pytest.mark.parametrize("change", ["", "x", "unm_", "unm_" + "x" * 43])
def test_what_is_no_key_is_nobody(database_url: str, change: str) -> None:
    make_key(database_url)
    assert found(database_url, change) is None


def test_a_revoked_key_is_nobody_at_once_and_stays_listed(database_url: str) -> None:
    made = make_key(database_url)
    first = with_database(database_url, lambda database: Keys(database).revoke(made.row.id))
    again = with_database(database_url, lambda database: Keys(database).revoke(made.row.id))
    assert found(database_url, made.secret) is None
    assert first.revoked_at == again.revoked_at
    assert [row.id for row in with_database(database_url, lambda database: Keys(database).list())] == [made.row.id]


def test_a_key_that_has_ended_is_nobody(database_url: str) -> None:
    made = make_key(database_url, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert found(database_url, made.secret)
    end(database_url, made)
    assert found(database_url, made.secret) is None


def test_a_rotated_key_gives_way_to_one_of_the_same_powers(database_url: str) -> None:
    old = make_key(database_url, "alice", ["admin"], name="desk", requests_per_minute=3)
    new = with_database(database_url, lambda database: Keys(database).rotate(old.row.id))
    caller = found(database_url, new.secret)
    assert caller
    assert (caller.owner, caller.scopes, caller.requests_per_minute) == ("alice", frozenset({"admin"}), 3)
    assert (new.row.name, new.row.id != old.row.id) == ("desk", True)
    assert found(database_url, old.secret) is None


def test_both_keys_work_during_the_overlap_and_the_old_one_has_an_end(database_url: str) -> None:
    old = make_key(database_url)
    new = with_database(database_url, lambda database: Keys(database).rotate(old.row.id, overlap_s=3600))
    assert found(database_url, old.secret)
    assert found(database_url, new.secret)
    ends = kept(database_url, old.row.id).expires_at
    assert ends
    assert timedelta(minutes=59) < ends - datetime.now(UTC) <= timedelta(hours=1)


def test_a_rotated_key_lives_as_long_as_the_one_before_it(database_url: str) -> None:
    old = make_key(database_url, expires_at=datetime.now(UTC) + timedelta(days=30))
    new = with_database(database_url, lambda database: Keys(database).rotate(old.row.id))
    assert old.row.expires_at
    assert new.row.expires_at
    assert new.row.expires_at - new.row.created_at == old.row.expires_at - old.row.created_at


def test_a_key_that_was_revoked_is_not_rotated(database_url: str) -> None:
    made = make_key(database_url)
    with_database(database_url, lambda database: Keys(database).revoke(made.row.id))
    with pytest.raises(WrongKeyOptions, match="must be active"):
        with_database(database_url, lambda database: Keys(database).rotate(made.row.id))


def test_the_time_of_use_is_noted(database_url: str) -> None:
    made = make_key(database_url)
    assert kept(database_url, made.row.id).last_used_at is None
    found(database_url, made.secret)
    assert kept(database_url, made.row.id).last_used_at


def test_keys_are_listed_newest_first_by_owner_and_in_pages(database_url: str) -> None:
    made = [make_key(database_url, owner) for owner in ("alice", "bob", "alice")]
    ids = sorted((made[0].row.id, made[2].row.id), reverse=True)

    async def pages(database: Any) -> list[list[str]]:
        keys = Keys(database)
        first = await keys.list("alice", limit=1)
        second = await keys.list("alice", after=first[0].id, limit=1)
        return [[row.id for row in page] for page in (first, second, await keys.list("bob"))]

    assert with_database(database_url, pages) == [[ids[0]], [ids[1]], [made[1].row.id]]


def test_an_id_of_no_key_is_named(database_url: str) -> None:
    with pytest.raises(UnknownKey, match="key_nope"):
        with_database(database_url, lambda database: Keys(database).revoke("key_nope"))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"owner": " "}, "owner"),
        ({"owner": "a\x00b"}, "owner"),
        ({"name": "x" * 256}, "name"),
        ({"expires_at": datetime(9999, 12, 31, tzinfo=timezone(timedelta(hours=-5)))}, "a century"),
        ({"scopes": []}, "no scope"),
        ({"scopes": ["read", "write"]}, "write is no scope"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "not in the future"),
        ({"requests_per_minute": -1}, "below 0"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(wrong: dict[str, Any], named: str) -> None:
    options: dict[str, Any] = {"owner": "alice", "scopes": ["read"], **wrong}
    with pytest.raises(WrongKeyOptions, match=named):
        KeyOptions(**options).check(datetime.now(UTC))
