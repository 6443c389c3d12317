"""Whether the database and the artefact store answer."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Literal

from models.errors import UnmaskError
from serve_app.artifacts import Artifacts
from serve_app.database import Database

State = Literal["ok", "unavailable"]
STATES_AGE_S = 1.0  # probes come often
CHECK_TIMEOUT_S = 2.0  # probes do not wait long


class Stores:
    """What probes are told of both; asked once a second at most."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database, self._artifacts = database, artifacts
        self._asked_s = float("-inf")
        self._states: tuple[State, State] = ("ok", "ok")
        self._asking = asyncio.Lock()

    async def states(self) -> tuple[State, State]:
        """Of the database, and of the artefact store."""
        async with self._asking:
            if time.monotonic() - self._asked_s > STATES_AGE_S:
                self._states = await asyncio.gather(_state(self._database.check()), _state(self._artifacts.check()))
                self._asked_s = time.monotonic()
        return self._states


async def _state(check: Awaitable[None]) -> State:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check
    except (UnmaskError, TimeoutError):
        return "unavailable"
    return "ok"
