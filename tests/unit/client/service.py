"""A service played by a function, asked by either client."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from serve_app.client import AsyncClient, Client, Retries

Answer = Callable[[httpx.Request], httpx.Response]
FAST = Retries(first_pause_s=0.001)
JOB_ID = "job_1"


def job(state: str = "queued", fraction: float = 0.0, **more: Any) -> dict[str, Any]:
    """A `JobBody`."""
    return {
        "id": JOB_ID,
        "state": state,
        "stage": "waiting",
        "fraction": fraction,
        "created_at": "2026-11-21T10:00:00Z",
        "started_at": None,
        "finished_at": None,
        "model": "ensemble",
        "files": [],
        "webhook": False,
        "error": None,
        "links": {"self": f"/v1/jobs/{JOB_ID}", "events": f"/v1/jobs/{JOB_ID}/events"},
        **more,
    }


class Played:
    """Runs a program of either client against a function; the programs differ in `await` alone."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def run(
        self,
        answer: Answer,
        program: Callable[[Client], Any],
        asynchronous: Callable[[AsyncClient], Coroutine[Any, Any, Any]],
    ) -> Any:
        """What the program returns."""
        transport = httpx.MockTransport(answer)
        if self.kind == "sync":
            with Client("http://service", "key", retries=FAST, transport=transport) as client:
                return program(client)

        async def main() -> Any:
            async with AsyncClient("http://service", "key", retries=FAST, transport=transport) as client:
                return await asynchronous(client)

        return asyncio.run(main())
