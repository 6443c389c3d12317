"""The deployment around the work on jobs."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from deployments.job_runner import JobRunner


class Work:
    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.begun, self.cancelled = asyncio.Event(), False

    async def run(self) -> None:
        self.begun.set()
        if self.failure:
            raise self.failure
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.fixture(autouse=True)
def _undone_by_nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delattr(JobRunner, "__del__")  # Serve awaits it; Python's collector would not
    yield
    gc.collect()


def test_a_runner_is_healthy_while_it_works_and_its_work_ends_with_it() -> None:
    async def act() -> None:
        work = Work()
        runner = JobRunner(lambda: work)
        await work.begun.wait()
        await runner.check_health()
        await runner.stop()
        assert work.cancelled

    asyncio.run(act())


def test_a_runner_whose_work_ended_is_to_be_replaced() -> None:
    async def act() -> None:
        work = Work(ValueError("broken"))
        runner = JobRunner(lambda: work)
        await work.begun.wait()
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="broken"):
            await runner.check_health()

    asyncio.run(act())
