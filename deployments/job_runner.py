"""The deployment that works on jobs. It takes no requests: jobs wait in a table, and who is idle takes one."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol


class Work(Protocol):
    """What a runner does."""

    async def run(self) -> None:
        """Work until cancelled. Raises only what cannot be overcome."""


class JobRunner:
    """Does its work as long as the replica lives; a replica whose work ended is replaced.

    Args:
        begin: makes the work from the other arguments, which handles of other deployments may be among.
    """

    def __init__(self, begin: Callable[..., Work], *arguments: Any) -> None:
        self._running = asyncio.get_running_loop().create_task(begin(*arguments).run())

    async def check_health(self) -> None:
        """Raises if the work has ended."""
        if self._running.done():
            self._running.result()
            raise RuntimeError("the runner stopped")

    async def stop(self) -> None:
        """End the work; what is under way is given back."""
        self._running.cancel()
        await asyncio.wait([self._running])

    __del__ = stop  # Serve awaits it when it stops a replica
