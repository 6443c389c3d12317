"""The deployment that knows the way: which detectors, which views, and one verdict out of their answers."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray import ObjectRef
from ray.exceptions import ObjectLostError, RayActorError, RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.detector import Scored
from deployments.explainer import Explainer
from deployments.frame_extractor import ExtractedViews
from deployments.progress import Progress, Steps, Tell
from deployments.retry import call
from models.course import Course, course_of
from models.detectors.catalogue import Catalogue, ModelRow
from models.detectors.store import how_to_install
from models.errors import DecoderCrashed, NotInstalled, Overloaded, UnmaskError
from models.explain.evidence import with_evidence
from models.fusion import fuse
from models.outcomes import Outcome, not_applicable
from models.types import Clip, Verdict, View

LOGGER = logging.getLogger("ray.serve")
DETECTOR_ATTEMPTS = 4
EXTRACTOR_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class MediaRef:
    """Media in the object store: `ref` to `(size_bytes,)` uint8, and its SHA-256. Small; the bytes stay put."""

    ref: "ObjectRef[NDArray[np.uint8]]"
    sha256: str


class EnsembleRouter:
    """Analyses media. Python callers: `serve.get_deployment_handle("EnsembleRouter", "unmask").analyze.remote(...)`."""

    def __init__(
        self,
        extractor: DeploymentHandle[Any],
        detectors: Mapping[str, DeploymentHandle[Any]],
        catalogue: Catalogue,
        default_model: str,
        detector_timeout_s: float,
    ) -> None:
        # Frames must stay in the object store in every mode of Serve: its gRPC path ends at 4 MiB.
        self._extractor = extractor.options(_by_reference=True)
        self._detectors = {name: handle.options(_by_reference=True) for name, handle in detectors.items()}
        self._catalogue = catalogue
        self._explainer = Explainer(self._detectors, catalogue, detector_timeout_s)
        self._default_model = default_model
        self._detector_timeout_s = detector_timeout_s

    async def analyze(
        self, media: MediaRef | bytes, model: str = "", explain: bool = False, heat: bool = False
    ) -> Verdict:
        """The verdict of one piece of media.

        Args:
            media: the file's bytes, or a reference to them.
            model: a model's id, several with commas between, `ensemble` or `cascade`; empty for the service's default.
            explain: whether to make saliency maps of the faces and frames that decided.
            heat: whether to make maps over time of the faces that decided, as `Scene` draws them.

        Raises:
            UnknownModel: no model of that name; those there are are named.
            WrongSelection: a list of models names one twice.
            NotInstalled: the model, or every model asked for, is not on this machine.
            MediaError: the media cannot be analysed; one subclass per cause.
        """
        return await self._analyze(media, model, explain, heat, _nobody)

    async def watch(
        self, media: MediaRef | bytes, model: str = "", explain: bool = False, heat: bool = False
    ) -> AsyncGenerator[Progress | Verdict]:
        """The same, telling how far it is: moments of progress, then the verdict. Call it with `stream=True`.

        Cancelling the call stops the work.
        """
        told: asyncio.Queue[Progress | None] = asyncio.Queue()
        work = asyncio.create_task(self._analyze(media, model, explain, heat, told.put_nowait))
        work.add_done_callback(lambda _: told.put_nowait(None))
        try:
            while progress := await told.get():
                yield progress
            yield await work
        finally:
            work.cancel()

    async def _analyze(self, media: MediaRef | bytes, model: str, explain: bool, heat: bool, tell: Tell) -> Verdict:
        started = time.monotonic()
        model = model or self._default_model
        course = course_of(self._catalogue, model, self._absent(model))
        steps = Steps(tell, len(course.rows), explain or heat)
        media = media if isinstance(media, MediaRef) else await asyncio.to_thread(store, media)
        extracted, outcomes = await self._extract_and_score(media, course, steps)
        verdict = fuse(extracted.extraction, outcomes, self._catalogue.verdict, model)
        if explain or heat:
            steps.explaining()
        if explain:
            verdict = await self._explainer.explained(verdict, extracted, course.views)
        else:
            verdict = with_evidence(verdict)
        if heat:
            verdict = await self._explainer.heated(verdict, extracted, course.views)
        total_s = time.monotonic() - started
        detectors_s = total_s - extracted.extraction.timings.total_s
        return replace(verdict, timings=replace(verdict.timings, detectors_s=max(0.0, detectors_s), total_s=total_s))

    def _absent(self, model: str) -> Sequence[Outcome]:
        """Outcomes for the rows that were not installed when the graph was drawn: they have no deployment."""
        rows = self._catalogue.choose(model)
        absent = [row for row in rows if row.id not in self._detectors]
        if len(absent) == len(rows):
            raise NotInstalled(f"{rows[0].id} is not installed.", how_to_install(rows[0]))
        return [Outcome(row, "not_installed", why=how_to_install(row)) for row in absent]

    async def _extract_and_score(
        self, media: MediaRef, course: Course, steps: Steps
    ) -> tuple[ExtractedViews, Sequence[Outcome]]:
        """Extract, then score; once more from the start if the views died with the extractor that held them."""
        extracted = await self._extract(media, course.views, steps)
        outcomes = await self._score_all(course, extracted, steps)
        if any(outcome.why == VIEWS_LOST for outcome in outcomes):
            extracted = await self._extract(media, course.views, steps)
            outcomes = await self._score_all(course, extracted, steps)
        return extracted, outcomes

    async def _extract(self, media: MediaRef, views: tuple[View, ...], steps: Steps) -> ExtractedViews:
        steps.extracting()
        try:
            extracted: ExtractedViews = await call(
                self._extractor.extract, media.ref, media.sha256, views, attempts=EXTRACTOR_ATTEMPTS
            )
        except RayActorError as error:
            raise DecoderCrashed("the process that reads media died twice on this file.") from error
        except BackPressureError:
            raise Overloaded("as many clips wait to be decoded as are accepted.", "Try again later.") from None
        return extracted

    async def _score_all(self, course: Course, extracted: ExtractedViews, steps: Steps) -> Sequence[Outcome]:
        views = course.views
        steps.detecting()
        outcomes: list[Outcome] = []
        while asked := course.following(outcomes, extracted.extraction):
            scoring = (self._score(row, extracted, views.index(row.view.view()), steps) for row in asked)
            outcomes += await asyncio.gather(*scoring)
        if any(outcome.why == BUSY for outcome in outcomes) and not any(outcome.scores for outcome in outcomes):
            raise Overloaded("as many clips wait for the detectors as are accepted.", "Try again later.")
        return course.closed(outcomes, extracted.extraction)

    async def _score(self, row: ModelRow, extracted: ExtractedViews, index: int, steps: Steps) -> Outcome:
        """One detector's outcome. Its failure is its own: the others' answers stand."""
        if extracted.empty[index]:
            return not_applicable(row, extracted.extraction)
        started = time.monotonic()
        outcome = await self._answer(row, extracted.refs[index])
        steps.answered()
        return replace(outcome, seconds=time.monotonic() - started)

    async def _answer(self, row: ModelRow, clips: "ObjectRef[tuple[Clip, ...]]") -> Outcome:
        try:
            async with asyncio.timeout(self._detector_timeout_s):
                scored: Scored = await call(self._detectors[row.id].score, clips, attempts=DETECTOR_ATTEMPTS)
        except TimeoutError:
            return Outcome(row, "late", why=f"no answer within {self._detector_timeout_s:g} s")
        except ObjectLostError:
            return Outcome(row, "failed", why=VIEWS_LOST)
        except BackPressureError:
            return Outcome(row, "failed", why=BUSY)
        except (RayError, RayServeException, UnmaskError, RuntimeError, ValueError) as error:
            LOGGER.exception("detector %s failed", row.id)
            return Outcome(row, "failed", why=type(error).__name__)
        return Outcome(row, "ok", scored.scores, device=scored.device, gpu_memory_bytes=scored.gpu_memory_bytes)


VIEWS_LOST = "the views were lost with the replica that made them"
BUSY = "busy: as many clips wait for it as are accepted"


def _nobody(_progress: Progress) -> None:
    """Nobody wants to know how far it is."""


def store(media: bytes) -> MediaRef:
    """Put a file's bytes into the object store."""
    return MediaRef(ray.put(np.frombuffer(media, np.uint8)), hashlib.sha256(media).hexdigest())
