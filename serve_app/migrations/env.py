"""Alembic's entry: runs the migrations on the engine that the program uses. Called by `database.migrate`."""

import asyncio
import threading

from alembic import context
from sqlalchemy import Connection

from serve_app.database import engine
from serve_app.tables import Table


def run(connection: Connection) -> None:
    """Run what is due, in one transaction."""
    context.configure(connection=connection, target_metadata=Table.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


async def upgrade() -> None:
    """Connect and run."""
    made = engine(context.config.attributes["url"])
    try:
        async with made.begin() as connection:
            await connection.run_sync(run)
    finally:
        await made.dispose()


def in_own_thread() -> None:
    """Run even where an event loop is running, as in a replica or an async test."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(upgrade())
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


in_own_thread()
