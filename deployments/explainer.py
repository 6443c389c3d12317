"""Asks the detectors of a verdict for their saliency maps. Part of the router; a map that fails costs no verdict."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.frame_extractor import ExtractedViews
from deployments.retry import call
from models.detectors.catalogue import Catalogue, ModelRow
from models.errors import UnmaskError
from models.explain.evidence import explained_by, to_explain, with_evidence
from models.explain.heat import heated_by, heated_tracks, with_heat
from models.types import Unexplained, Verdict, View

LOGGER = logging.getLogger("ray.serve")
ATTEMPTS = 2


class Explainer:
    """Maps of every detector that decided, all asked at once.

    Args:
        detectors: handles by id, which take their arguments by reference.
        catalogue: of the graph.
        timeout_s: what comes later is left out and named.
    """

    def __init__(self, detectors: Mapping[str, DeploymentHandle[Any]], catalogue: Catalogue, timeout_s: float) -> None:
        self._detectors = detectors
        self._catalogue = catalogue
        self._timeout_s = timeout_s

    async def explained(self, verdict: Verdict, extracted: ExtractedViews, views: Sequence[View]) -> Verdict:
        """The verdict with evidence and maps; `views` are those of `extracted`, in its order."""
        rows = [self._catalogue.row(model) for model in explained_by(verdict)]
        wanted = to_explain(verdict)
        refs = [extracted.refs[views.index(row.view.view())] for row in rows]
        asked = (
            self._answer(row, self._detectors[row.id].explain, ref, wanted) for row, ref in zip(rows, refs, strict=True)
        )
        answers = await asyncio.gather(*asked)
        failures = [answer for answer in answers if isinstance(answer, Unexplained)]
        return with_evidence(verdict, [m for maps in answers if isinstance(maps, tuple) for m in maps], failures)

    async def heated(self, verdict: Verdict, extracted: ExtractedViews, views: Sequence[View]) -> Verdict:
        """The verdict with heat by the first detector that decided and can tell where it looked, if one can."""
        tracks = heated_tracks(verdict)
        for row in heated_by(verdict, self._catalogue) if tracks else ():
            clips = extracted.refs[views.index(row.view.view())]
            answer = await self._answer(row, self._detectors[row.id].heat, clips, tracks)
            if answer and not isinstance(answer, Unexplained):
                return with_heat(verdict, answer)
        return verdict

    async def _answer(self, row: ModelRow, method: Any, *args: Any) -> tuple[Any, ...] | Unexplained:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer: tuple[Any, ...] = await call(method, *args, attempts=ATTEMPTS)
        except TimeoutError:
            return Unexplained(row.id, f"no answer within {self._timeout_s:g} s")
        except (RayError, RayServeException, UnmaskError, RuntimeError, ValueError) as error:
            LOGGER.exception("no map by %s", row.id)
            return Unexplained(row.id, type(error).__name__)
        return answer
