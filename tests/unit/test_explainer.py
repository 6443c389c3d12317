"""The part of the router that asks for maps, with handles of a few lines instead of deployments."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray.exceptions import RayActorError

from deployments.ensemble_router import EnsembleRouter
from models.types import SaliencyMap, Unexplained, Verdict
from tests.unit.test_router import MEDIA, Handle, extracted, rows, scored

MAP = SaliencyMap(0, 0.5, "a", "grad_cam", b"heat", b"crop")


class Detector(Handle):
    """Stands in for a detector's handle, whose scores and maps differ."""

    def __init__(self, maps: Callable[..., Awaitable[Any]]) -> None:
        super().__init__(scored)
        self.maps = Handle(maps)

    @property
    def explain(self) -> Handle:
        return self.maps


async def mapped(_: Any, wanted: Any) -> tuple[SaliencyMap, ...]:
    return (MAP,) if wanted[0].track == 0 else ()


def explained(timeout_s: float = 5.0, *, explain: bool = True, **detectors: Detector) -> Verdict:
    router = EnsembleRouter(Handle(extracted), detectors, rows(*detectors), "ensemble", timeout_s)  # type: ignore[arg-type]
    return asyncio.run(router.analyze(MEDIA, "", explain))


def failing(error: Exception) -> Callable[..., Awaitable[Any]]:
    async def answer(*_: Any) -> Any:
        raise error

    return answer


def test_maps_of_every_detector_that_decided_come_with_the_verdict() -> None:
    verdict = explained(a=Detector(mapped), b=Detector(mapped))
    assert verdict.evidence.maps == (MAP, MAP)
    assert verdict.evidence.unexplained == ()


def test_maps_are_made_only_when_they_are_asked_for() -> None:
    detector = Detector(mapped)
    verdict = explained(explain=False, a=detector)
    assert verdict.evidence.maps == ()
    assert verdict.evidence.sentence.startswith("The face seen from 0.0 to 1.0 s is very likely manipulated")
    assert detector.maps.calls == 0


@pytest.mark.parametrize("error", [RuntimeError("x"), RayActorError()])
def test_a_map_that_fails_is_named_and_costs_no_verdict(error: Exception) -> None:
    verdict = explained(a=Detector(failing(error)), b=Detector(mapped))
    assert (verdict.verdict, verdict.degraded) == ("FAKE", False)
    assert verdict.evidence.unexplained == (Unexplained("a", type(error).__name__),)
    assert verdict.evidence.maps == (MAP,)


def test_a_map_that_is_late_is_named_and_its_work_is_stopped() -> None:
    async def hang(*_: Any) -> Any:
        await asyncio.sleep(60)

    detector = Detector(hang)
    verdict = explained(0.05, a=detector)
    assert verdict.evidence.unexplained == (Unexplained("a", "no answer within 0.05 s"),)
    assert detector.maps.cancelled == 1
