"""Keys in the database of a test."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from serve_app.asking import ANALYZE, READ
from serve_app.database import Database
from serve_app.keys import KeyOptions, Keys, NewKey

T = TypeVar("T")


def with_database(url: str, work: Callable[[Database], Awaitable[T]]) -> T:
    """Do something with a database from a test that is not asynchronous itself."""

    async def run() -> T:
        database = Database(url)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def make_key(url: str, owner: str = "alice", scopes: Sequence[str] = (ANALYZE, READ), **options: Any) -> NewKey:
    """A new key."""
    return with_database(url, lambda database: Keys(database).create(KeyOptions(owner, scopes, **options)))


def headers(made: NewKey) -> dict[str, str]:
    """The header that sends a key."""
    return {"X-API-Key": made.secret}
