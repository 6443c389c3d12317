import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError

from deployments import retry
from models.errors import TruncatedMedia


class Flaky:
    """A handle's method whose replica dies a number of times."""

    def __init__(self, deaths: int, error: Exception | None = None) -> None:
        self.deaths, self.error, self.calls = deaths, error, 0

    def remote(self, *args: Any) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(self._answer(*args))

    async def _answer(self, *args: Any) -> Any:
        self.calls += 1
        if self.calls <= self.deaths:
            raise RayActorError
        if self.error:
            raise self.error
        return args


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []

    async def sleep(pause_s: float) -> None:
        slept.append(pause_s)

    # In that module alone: with a Ray in this process, its own threads sleep too.
    own = SimpleNamespace(sleep=sleep, CancelledError=asyncio.CancelledError)
    monkeypatch.setattr(retry, "asyncio", own)
    return slept


def test_a_dead_replica_is_called_again_with_growing_pauses(pauses: list[float]) -> None:
    method = Flaky(deaths=3)
    assert asyncio.run(retry.call(method, 1, 2, attempts=4)) == (1, 2)
    assert method.calls == 4
    assert pauses == pytest.approx([0.05, 0.1, 0.2])


def test_after_the_last_attempt_the_death_reaches_the_caller() -> None:
    method = Flaky(deaths=9)
    with pytest.raises(RayActorError):
        asyncio.run(retry.call(method, attempts=2))
    assert method.calls == 2


def test_an_error_of_the_method_itself_is_not_retried() -> None:
    method = Flaky(deaths=0, error=TruncatedMedia("cut."))
    with pytest.raises(TruncatedMedia):
        asyncio.run(retry.call(method, attempts=4))
    assert method.calls == 1
