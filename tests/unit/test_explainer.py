"""The part of the router that asks for maps, with handles of a few lines instead of deployments."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray.exceptions import RayActorError

from deployments.ensemble_router import EnsembleRouter
from models.types import Heat, SaliencyMap, Unexplained, Verdict
from tests.unit.test_router import MEDIA, Handle, extracted, rows, scored

MAP = SaliencyMap(0, 0.5, "a", "grad_cam", b"heat", b"crop")

HEAT = Heat(0, 0.3, (0.0,), (1, 1), b"\xff")


class Detector(Handle):
    """Stands in for a detector's handle, whose scores and maps differ."""

    def __init__(self, maps: Callable[..., Awaitable[Any]]) -> None:
        super().__init__(scored)
        self.maps = Handle(maps)

    @property
    def explain(self) -> Handle:
        return self.maps

    @property
    def heat(self) -> Handle:
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


async def warm(_: Any, tracks: Any) -> tuple[Heat, ...]:
    return (HEAT,) if tracks == (0,) else ()


async def cold(*_: Any) -> tuple[Heat, ...]:
    return ()


def heated(**detectors: Detector) -> Verdict:
    router = EnsembleRouter(Handle(extracted), detectors, rows(*detectors), "ensemble", 5.0)  # type: ignore[arg-type]
    return asyncio.run(router.analyze(MEDIA, "", False, True))  # noqa: FBT003


@pytest.mark.parametrize("first", [cold, failing(RuntimeError("x"))], ids=["has no method", "fails"])
def test_heat_is_by_the_first_detector_that_can_tell_where_it_looked(first: Callable[..., Awaitable[Any]]) -> None:
    a, b, c = Detector(first), Detector(warm), Detector(warm)
    assert heated(a=a, b=b, c=c).evidence.heat == (HEAT,)
    assert (b.maps.calls, c.maps.calls) == (1, 0)


def test_where_none_can_the_verdict_stands_without_heat() -> None:
    verdict = heated(a=Detector(failing(RayActorError())), b=Detector(cold))
    assert (verdict.verdict, verdict.evidence.heat) == ("FAKE", ())
    assert verdict.evidence.sentence
