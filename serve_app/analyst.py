"""One file to one recorded analysis: the way that every route and every job goes."""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from deployments.progress import Progress
from models.detectors.catalogue import Catalogue, ModelRow
from models.types import Verdict
from serve_app.asking import Ask, Caller, Origin
from serve_app.database import DatabaseUnavailable
from serve_app.history import Also, Earlier, Finished, History
from serve_app.ids import new_id
from serve_app.quotas import seconds_of
from serve_app.schemas import VerdictBody
from serve_app.service import Service
from serve_app.settings import Settings
from serve_app.tables import AnalysisRow
from serve_app.uploads import Upload

LOGGER = logging.getLogger("ray.serve")
Watch = Callable[[Progress], None]
Charge = Callable[[Caller, float], Awaitable[None]]  # counts a caller's seconds of media that were analysed

# An analysis is done and the database went away meanwhile: how long to hope for it, and how often to ask.
RECORD_PATIENCE_S = 8.0
RECORD_PAUSE_S = 0.5
# Nobody waits for the answer of a job: it is recorded as long as it may be, so that the work is not done twice.
JOB_RECORD_PATIENCE_S = 120.0
# Settings on which a verdict depends.
DECIDING_SETTINGS = ("precision", "face_finder", "landmarks", "c2pa_trust_anchors")


@dataclass(frozen=True, slots=True)
class Analysis:
    """A finished analysis.

    Attributes:
        id: empty if it could not be recorded: the database went away while the work was done, and did not come back.
        verdict: the answer.
        reused_from: the earlier analysis whose verdict it repeats, if it does.
        row: as it was recorded; None if it was not.
        made: the verdict as the graph gave it just now; None where an earlier one is repeated.
    """

    id: str
    verdict: VerdictBody
    reused_from: str | None = None
    row: AnalysisRow | None = None
    made: Verdict | None = None


class Analyst:
    """Analyses uploads, or answers what was answered before, and records what came of it."""

    def __init__(
        self,
        service: Service,
        history: History,
        catalogue: Catalogue,
        settings: Settings,
        charge: Charge | None = None,
    ) -> None:
        self._service, self._history, self._charge = service, history, charge
        self._catalogue, self._settings = catalogue, settings

    async def analyze(
        self, upload: Upload, ask: Ask, origin: Origin, watch: Watch | None = None, also: Also | None = None
    ) -> Analysis:
        """The analysis of one upload.

        Args:
            upload: the file.
            ask: what is asked of it.
            origin: who asks, where.
            watch: hears of progress.
            also: writes more in the transaction that records the analysis, and can undo it by raising.

        Raises:
            DatabaseUnavailable: the database is away: nothing was done. With `also`, maybe all but the recording.
            UnmaskError: as `Service.analyze`.
        """
        answered_by = self.answered_by(ask)
        earlier = await self._earlier(upload, ask, origin, answered_by)
        made = None if earlier else await self._service.analyze(upload, ask, watch)
        verdict = earlier.verdict if earlier else VerdictBody.model_validate(made)
        if made and self._charge:
            await self._charge(origin.caller, seconds_of(verdict.media))
        reused_from = earlier.id if earlier else None
        verdict.timings.receive_s = upload.receive_s
        finished = Finished(new_id("ana"), verdict, upload.filename, upload.sha256, answered_by, origin, reused_from)
        row = await self._recorded(finished, also)
        return Analysis(row.id if row else "", verdict, reused_from, row, made)

    def answered_by(self, ask: Ask) -> str:
        """SHA-256 of everything beside the file that the answer depends on.

        That is the question, and of every detector that may answer it the whole row of the catalogue (revision, view,
        calibration, weight) and the hashes of its files, the bounds of verdict and cascade, and this version.
        """
        rows = self._catalogue.choose(ask.model)
        question = {
            "version": version("unmask"),
            "ask": [ask.model, ask.explain, ask.heat],
            "models": [[row.model_dump(mode="json"), self._hashes(row)] for row in rows],
            "bounds": [self._catalogue.verdict.model_dump(), self._catalogue.cascade.model_dump()],
            "settings": {name: getattr(self._settings, name) for name in DECIDING_SETTINGS},
        }
        return hashlib.sha256(json.dumps(question, sort_keys=True, default=str).encode()).hexdigest()

    def _hashes(self, row: ModelRow) -> dict[str, Any]:
        """What a model's files hash to: as the catalogue pins them, else as they were when they were installed."""
        if all(file.sha256 for file in row.files.values()):
            return {}  # they are in the row itself
        return {name: entry.sha256 for name, entry in self._catalogue.store.record(row).items()}

    async def _earlier(self, upload: Upload, ask: Ask, origin: Origin, answered_by: str) -> Earlier | None:
        if ask.fresh or not self._settings.reuse_results:
            await self._history.check()  # before the work: an answer that cannot be recorded is better not begun
            return None
        return await self._history.same(origin.caller.owner, upload.sha256, answered_by)

    async def _recorded(self, finished: Finished, also: Also | None) -> AnalysisRow | None:
        """The row; None if the database stays away: then an answer without a row is better than none."""
        deadline_s = time.monotonic() + (JOB_RECORD_PATIENCE_S if also else RECORD_PATIENCE_S)
        while True:
            try:
                return await self._history.record(finished, also)
            except DatabaseUnavailable:
                if time.monotonic() < deadline_s:
                    await asyncio.sleep(RECORD_PAUSE_S)
                    continue
                if also:
                    raise
                LOGGER.exception("an analysis of request %s is not recorded", finished.origin.caller.request_id)
                return None
