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
from models.explain.subject import Moments
from models.types import SaliencyMap, Unexplained, Verdict, View

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
        answers = await asyncio.gather(*(self._ask(row, ref, wanted) for row, ref in zip(rows, refs, strict=True)))
        failures = [answer for answer in answers if isinstance(answer, Unexplained)]
        return with_evidence(verdict, [m for maps in answers if isinstance(maps, tuple) for m in maps], failures)

    async def _ask(
        self, row: ModelRow, clips: Any, wanted: tuple[Moments, ...]
    ) -> tuple[SaliencyMap, ...] | Unexplained:
        try:
            async with asyncio.timeout(self._timeout_s):
                maps: tuple[SaliencyMap, ...] = await call(
                    self._detectors[row.id].explain, clips, wanted, attempts=ATTEMPTS
                )
        except TimeoutError:
            return Unexplained(row.id, f"no answer within {self._timeout_s:g} s")
        except (RayError, RayServeException, UnmaskError, RuntimeError, ValueError) as error:
            LOGGER.exception("no map by %s", row.id)
            return Unexplained(row.id, type(error).__name__)
        return maps
