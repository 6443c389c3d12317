"""How many analyses run and wait at an ingress replica. Probes and refusals pass beside the line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from models.errors import Overloaded


class Admission:
    """Lets `running` analyses in at once and `waiting` more wait their turn; the next is refused at once."""

    def __init__(self, running: int, waiting: int) -> None:
        self._slots = asyncio.Semaphore(running)
        self._places = running + waiting
        self._present = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it; raises `Overloaded` if the line is full."""
        if self._present >= self._places:
            raise Overloaded("The service has as much to do as it accepts.", "Try again later.")
        self._present += 1
        try:
            async with self._slots:
                yield
        finally:
            self._present -= 1
