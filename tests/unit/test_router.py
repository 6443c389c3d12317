"""The router's decisions, with handles of a few lines instead of deployments."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pytest
from ray.exceptions import ObjectLostError, RayActorError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from deployments import ensemble_router
from deployments.detector import Scored
from deployments.ensemble_router import EnsembleRouter, MediaRef
from deployments.frame_extractor import ExtractedViews
from deployments.progress import Progress, Steps
from models.detectors.catalogue import CascadeRow, Catalogue, FileRow, ModelRow, VerdictRow, read_catalogue
from models.errors import DecoderCrashed, NotInstalled, Overloaded, UnknownModel
from models.extraction import Extraction
from models.types import ClipScore, MediaFacts, Timings, Track, Verdict, View

MEDIA = MediaRef("media", "00")  # type: ignore[arg-type]
SCORED = Scored((ClipScore(3.0, (), 0),), "cpu", 0)
FACES = Extraction(
    MediaFacts("video", "00", 1, frames_analysed=16),
    (Track(0, np.array([0.0, 1.0]), np.tile(np.array([0, 0, 90, 90], np.float32), (2, 1))),),
    Timings(),
)


@dataclass
class Handle:
    """Stands in for a deployment's handle: every method is `answer`."""

    answer: Callable[..., Awaitable[Any]]
    calls: int = 0
    cancelled: int = 0

    def options(self, **_: Any) -> Self:
        return self

    @property
    def extract(self) -> Self:
        return self

    score = extract

    def remote(self, *args: Any) -> "Response":
        self.calls += 1
        return Response(self, args)


@dataclass
class Response:
    """Stands in for Serve's response, which goes on unless it is told to stop."""

    handle: Handle
    args: tuple[Any, ...]

    def __await__(self) -> Any:
        return self.handle.answer(*self.args).__await__()

    def cancel(self) -> None:
        self.handle.cancelled += 1


async def extracted(_: Any, __: str, views: tuple[View, ...]) -> ExtractedViews:
    refs: Any = tuple(f"views {i}" for i in range(len(views)))
    return ExtractedViews(FACES, refs, tuple(False for _ in views))


async def scored(_: Any) -> Scored:
    return SCORED


def raising(
    *errors: BaseException | None, then: Callable[..., Awaitable[Any]] = scored
) -> Callable[..., Awaitable[Any]]:
    left = list(errors)

    async def answer(*args: Any) -> Any:
        if left and (error := left.pop(0)):
            raise error
        return await then(*args)

    return answer


def rows(*names: str) -> Catalogue:
    first = read_catalogue().rows[0]
    calibration = first.calibration.model_copy(update={"scale": 1.0, "bias": 0.0})
    files = {"weights": FileRow(path="")}  # the operator's own: there is nothing to pull
    changes = {"calibration": calibration, "files": files}
    found: list[ModelRow] = [first.model_copy(update={"id": name, **changes}) for name in names]
    return Catalogue(tuple(found), VerdictRow())


def analyze(
    extractor: Handle, detectors: dict[str, Handle], model: str = "", timeout_s: float = 5.0, missing: str = ""
) -> Verdict:
    router = EnsembleRouter(
        extractor,  # type: ignore[arg-type]
        detectors,  # type: ignore[arg-type]
        rows(*detectors, *filter(None, [missing])),
        "ensemble",
        timeout_s,
    )
    return asyncio.run(router.analyze(MEDIA, model))


def by_cascade(detectors: dict[str, Handle]) -> Verdict:
    """In the order of their names, each dearer than the one before."""
    found = rows(*detectors)
    priced = [row.model_copy(update={"cost": float(i + 1), "weight": 1.0}) for i, row in enumerate(found.rows)]
    bounds = CascadeRow(real_below=0.1, fake_above=0.9)
    catalogue = Catalogue(tuple(priced), found.verdict, cascade=bounds)
    router = EnsembleRouter(Handle(extracted), detectors, catalogue, "cascade", 5.0)  # type: ignore[arg-type]
    return asyncio.run(router.analyze(MEDIA))


async def unsure(_: Any) -> Scored:
    return Scored((ClipScore(0.5, (), 0),), "cpu", 0)


def statuses(verdict: Verdict) -> dict[str, str]:
    return {report.id: report.status for report in verdict.detectors}


def test_equal_views_are_extracted_once() -> None:
    asked = []

    async def answer(media: Any, sha256: str, views: tuple[View, ...]) -> ExtractedViews:
        asked.append(views)
        return await extracted(media, sha256, views)

    verdict = analyze(Handle(answer), {"a": Handle(scored), "b": Handle(scored)})
    assert [len(views) for views in asked] == [1]
    assert statuses(verdict) == {"a": "ok", "b": "ok"}
    assert verdict.verdict == "FAKE"


def test_a_named_model_is_never_replaced_by_another() -> None:
    detectors = {"a": Handle(scored), "b": Handle(scored)}
    verdict = analyze(Handle(extracted), detectors, "b")
    assert (detectors["a"].calls, detectors["b"].calls) == (0, 1)
    assert (verdict.mode, verdict.model) == ("single", "b")


def test_an_unknown_model_is_refused_before_anything_is_extracted() -> None:
    extractor = Handle(extracted)
    with pytest.raises(UnknownModel):
        analyze(extractor, {"a": Handle(scored)}, "z")
    assert extractor.calls == 0


def test_a_detector_that_fails_is_named_and_the_others_stand() -> None:
    verdict = analyze(Handle(extracted), {"a": Handle(scored), "b": Handle(raising(*[RuntimeError("x")] * 9))})
    assert statuses(verdict) == {"a": "ok", "b": "failed"}
    assert verdict.degraded
    assert verdict.verdict == "FAKE"


def test_a_detector_that_hangs_is_late_and_its_work_is_stopped() -> None:
    async def hang(_: Any) -> Scored:
        await asyncio.sleep(60)
        return SCORED

    hanging = Handle(hang)
    verdict = analyze(Handle(extracted), {"a": Handle(scored), "b": hanging}, timeout_s=0.05)
    assert statuses(verdict) == {"a": "ok", "b": "late"}
    assert verdict.degraded
    assert hanging.cancelled == 1


def test_a_detector_with_a_full_queue_is_left_out_and_named() -> None:
    full = Handle(raising(BackPressureError(num_queued_requests=9, max_queued_requests=9)))
    verdict = analyze(Handle(extracted), {"a": Handle(scored), "b": full})
    assert statuses(verdict) == {"a": "ok", "b": "failed"}


def test_a_detector_that_serve_gave_up_on_is_left_out_and_named() -> None:
    gone = Handle(raising(DeploymentUnavailableError(DeploymentID("b", "unmask"))))
    assert statuses(analyze(Handle(extracted), {"a": Handle(scored), "b": gone})) == {"a": "ok", "b": "failed"}


def test_when_every_detector_is_busy_the_request_is_refused_for_now() -> None:
    full = Handle(raising(BackPressureError(num_queued_requests=9, max_queued_requests=9)))
    with pytest.raises(Overloaded):
        analyze(Handle(extracted), {"a": full})


def test_a_detector_whose_replica_died_is_asked_again() -> None:
    detector = Handle(raising(RayActorError()))
    assert statuses(analyze(Handle(extracted), {"a": detector})) == {"a": "ok"}
    assert detector.calls == 2


def test_views_that_died_with_their_extractor_are_extracted_again() -> None:
    extractor = Handle(extracted)
    verdict = analyze(extractor, {"a": Handle(raising(ObjectLostError("ref", None, "")))})
    assert extractor.calls == 2
    assert statuses(verdict) == {"a": "ok"}
    assert not verdict.degraded


def test_an_extractor_that_dies_twice_on_a_file_is_not_asked_a_third_time() -> None:
    extractor = Handle(raising(*[RayActorError()] * 9))
    with pytest.raises(DecoderCrashed):
        analyze(extractor, {"a": Handle(scored)})
    assert extractor.calls == ensemble_router.EXTRACTOR_ATTEMPTS == 2


def test_a_model_that_is_not_installed_is_named_with_its_remedy_and_the_others_answer() -> None:
    verdict = analyze(Handle(extracted), {"a": Handle(scored)}, missing="b")
    assert statuses(verdict) == {"a": "ok", "b": "not_installed"}
    assert verdict.degraded
    assert [report.why for report in verdict.detectors if report.id == "b"] == [
        "`unmask models convert FILE --as mobilenet_sbi --id b`."
    ]


def test_asking_for_a_model_that_is_not_installed_alone_is_refused_before_anything_is_extracted() -> None:
    extractor = Handle(extracted)
    with pytest.raises(NotInstalled, match=r"b is not installed.*unmask models convert FILE .*--id b"):
        analyze(extractor, {"a": Handle(scored)}, "b", missing="b")
    assert extractor.calls == 0


def test_a_view_without_a_clip_asks_no_detector() -> None:
    async def nothing(media: Any, sha256: str, views: tuple[View, ...]) -> ExtractedViews:
        found = await extracted(media, sha256, views)
        return ExtractedViews(Extraction(FACES.media, (), Timings()), found.refs, tuple(True for _ in views))

    detector = Handle(scored)
    verdict = analyze(Handle(nothing), {"a": detector})
    assert detector.calls == 0
    assert statuses(verdict) == {"a": "not_applicable"}
    assert (verdict.verdict, verdict.degraded) == ("UNDETERMINED", False)
    assert verdict.reason.startswith("no face")


def test_a_cascade_that_is_sure_asks_nobody_else_and_is_not_degraded() -> None:
    detectors = {"a": Handle(scored), "b": Handle(scored)}
    verdict = by_cascade(detectors)
    assert [handle.calls for handle in detectors.values()] == [1, 0]
    assert statuses(verdict) == {"a": "ok", "b": "not_needed"}
    assert (verdict.verdict, verdict.mode, verdict.degraded) == ("FAKE", "cascade", False)


def test_a_cascade_that_is_unsure_asks_the_next() -> None:
    verdict = by_cascade({"a": Handle(unsure), "b": Handle(scored), "c": Handle(scored)})
    assert statuses(verdict) == {"a": "ok", "b": "ok", "c": "ok"}


def test_a_cascade_goes_on_past_a_detector_that_is_down_and_says_degraded() -> None:
    verdict = by_cascade({"a": Handle(raising(*[RuntimeError("x")] * 9)), "b": Handle(scored), "c": Handle(scored)})
    assert statuses(verdict) == {"a": "failed", "b": "ok", "c": "not_needed"}
    assert verdict.degraded


def test_several_models_are_asked_by_name() -> None:
    detectors = {"a": Handle(scored), "b": Handle(scored), "c": Handle(scored)}
    verdict = analyze(Handle(extracted), detectors, "c,a")
    assert [handle.calls for handle in detectors.values()] == [1, 0, 1]
    assert (verdict.mode, verdict.model) == ("selection", "c,a")


def test_how_long_each_detector_took_is_told() -> None:
    assert all(report.seconds > 0 for report in analyze(Handle(extracted), {"a": Handle(scored)}).detectors)


def router_of(extractor: Handle, detectors: dict[str, Handle]) -> EnsembleRouter:
    return EnsembleRouter(extractor, detectors, rows(*detectors), "ensemble", 5.0)  # type: ignore[arg-type]


async def watched(router: EnsembleRouter) -> list[Progress | Verdict]:
    return [told async for told in router.watch(MEDIA)]


def test_who_watches_hears_of_every_stage_in_order_and_then_the_verdict() -> None:
    *told, verdict = asyncio.run(watched(router_of(Handle(extracted), {"a": Handle(scored), "b": Handle(scored)})))
    assert isinstance(verdict, Verdict)
    assert [(one.stage, round(one.fraction, 2)) for one in told if isinstance(one, Progress)] == [
        ("extracting", 0.0),
        ("detecting", 0.6),
        ("detecting", 0.8),
        ("detecting", 1.0),
    ]


def test_who_watches_gets_the_error_of_the_analysis() -> None:
    with pytest.raises(DecoderCrashed):
        asyncio.run(watched(router_of(Handle(raising(*[RayActorError()] * 9)), {"a": Handle(scored)})))


def test_the_work_ends_when_nobody_watches_any_more() -> None:
    ended = asyncio.Event()

    async def hang(*_: Any) -> ExtractedViews:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        raise AssertionError

    async def look_away() -> None:
        watching = router_of(Handle(hang), {"a": Handle(scored)}).watch(MEDIA)
        await anext(watching)
        await asyncio.sleep(0)
        await watching.aclose()
        await asyncio.wait_for(ended.wait(), 10)

    asyncio.run(look_away())


def test_progress_never_falls_when_work_is_done_again() -> None:
    told: list[Progress] = []
    steps = Steps(told.append, 1, maps=True)
    for step in (
        steps.extracting,
        steps.detecting,
        steps.answered,
        steps.extracting,
        steps.detecting,
        steps.explaining,
    ):
        step()
    fractions = [one.fraction for one in told]
    assert fractions == sorted(fractions)
    assert (told[-1].stage, fractions[-1]) == ("explaining", 0.5)
