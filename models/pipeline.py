"""The whole flow in one process, without Ray: what `unmask analyze` runs, and the floor the service is measured by."""

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.course import course_of
from models.detectors.catalogue import ENSEMBLE, Catalogue, ModelRow, load_detector, read_catalogue
from models.detectors.contract import Detector
from models.detectors.store import how_to_install
from models.errors import EmptyMedia
from models.explain.evidence import explained_by, to_explain, with_evidence
from models.explain.heat import heat_clips, heated_by, heated_tracks, with_heat
from models.explain.maps import explain_clips
from models.extraction import Extraction, Extractor
from models.faces.tools import FaceTools
from models.fusion import fuse
from models.media.limits import Limits
from models.outcomes import Outcome, not_applicable
from models.types import Clip, ClipScore, Precision, SaliencyMap, Unexplained, Verdict, View

LOGGER = logging.getLogger(__name__)


class Pipeline:
    """Extractor and detectors in this process. Detectors are loaded at their first use."""

    def __init__(
        self,
        catalogue: Catalogue | None = None,
        limits: Limits | None = None,
        device: str = "cpu",
        precision: Precision = "fp32",
        tools: FaceTools | None = None,
        *,
        trust_anchors: str = "",
    ) -> None:
        self.catalogue = catalogue or read_catalogue()
        self._extractor = Extractor(limits or Limits(), tools=tools, trust_anchors=trust_anchors)
        self._device = device
        self._precision = precision
        self._detectors: dict[str, Detector] = {}

    def analyze(
        self, media: bytes | Path, model: str = ENSEMBLE, *, explain: bool = False, heat: bool = False
    ) -> Verdict:
        """The verdict of one file.

        Args:
            media: the file's bytes, or its path.
            model: a model's id, several with commas between, `ensemble` or `cascade`.
            explain: whether to make saliency maps, which takes as long again or longer.
            heat: whether to make maps over time of the faces that decided, as `Scene` draws them.

        Raises:
            UnknownModel: no model of that name.
            WrongSelection: a list of models names one twice.
            MediaError: the media cannot be analysed; one subclass per cause.
            NotInstalled: the model, or every model asked for, is not on this machine.
            WeightsError: a detector's weights were altered or do not fit.
        """
        started = time.monotonic()
        course = course_of(self.catalogue, model, installed(self.catalogue, self.catalogue.choose(model))[1])
        content = read_bytes(media) if isinstance(media, Path) else np.frombuffer(media, np.uint8)
        extraction, clips = self._extractor.extract(content, hashlib.sha256(content.data).hexdigest(), course.views)
        extracted = time.monotonic()
        outcomes: list[Outcome] = []
        while asked := course.following(outcomes, extraction):
            outcomes += [self._score(row, extraction, clips[row.view.view()]) for row in asked]
        verdict = fuse(extraction, course.closed(outcomes, extraction), self.catalogue.verdict, model)
        verdict = self._explained(verdict, clips) if explain else with_evidence(verdict)
        verdict = self._heated(verdict, clips) if heat else verdict
        now = time.monotonic()
        timings = replace(verdict.timings, detectors_s=now - extracted, total_s=now - started)
        return replace(verdict, timings=timings)

    def detector(self, row: ModelRow) -> Detector:
        """The loaded detector of a row."""
        if row.id not in self._detectors:
            self._detectors[row.id] = load_detector(row, self.catalogue.store, self._device, self._precision)
        return self._detectors[row.id]

    def _explained(self, verdict: Verdict, clips: Mapping[View, Sequence[Clip]]) -> Verdict:
        """The verdict with maps. A detector whose maps fail is named; its score stands."""
        maps: list[SaliencyMap] = []
        failures: list[Unexplained] = []
        wanted = to_explain(verdict)
        for row in map(self.catalogue.row, explained_by(verdict)):
            try:
                maps += explain_clips(
                    self.detector(row),
                    row.id,
                    clips=clips[row.view.view()],
                    wanted=wanted,
                    rows_per_pass=row.share.batch_frames,
                )
            except Exception as error:  # whatever it is, there is a verdict
                LOGGER.exception("no map by %s", row.id)
                failures.append(Unexplained(row.id, type(error).__name__))
        return with_evidence(verdict, maps, failures)

    def _heated(self, verdict: Verdict, clips: Mapping[View, Sequence[Clip]]) -> Verdict:
        """The verdict with heat by the first detector that decided and can tell where it looked, if one can."""
        tracks = heated_tracks(verdict)
        for row in heated_by(verdict, self.catalogue) if tracks else ():
            try:
                heat = heat_clips(self.detector(row), clips[row.view.view()], tracks)
            except Exception:  # whatever it is, there is a verdict
                LOGGER.exception("no heat by %s", row.id)
                continue
            if heat:
                return with_heat(verdict, heat)
        return verdict

    def _score(self, row: ModelRow, extraction: Extraction, clips: Sequence[Clip]) -> Outcome:
        if not clips:
            return not_applicable(row, extraction)
        detector = self.detector(row)
        started = time.monotonic()
        scores = score_clips(detector, clips, row.share.batch_frames)
        return Outcome(row, "ok", scores, device=self._device, seconds=time.monotonic() - started)


def installed(catalogue: Catalogue, rows: Sequence[ModelRow]) -> tuple[list[ModelRow], list[Outcome]]:
    """The rows whose files are here, and outcomes for those whose files are not.

    Raises:
        NotInstalled: none of them is.
    """
    here = [row for row in rows if catalogue.store.is_installed(row)]
    if not here:
        catalogue.store.files(rows[0])
    return here, [Outcome(row, "not_installed", why=how_to_install(row)) for row in rows if row not in here]


def score_clips(detector: Detector, clips: Sequence[Clip], rows_per_pass: int) -> tuple[ClipScore, ...]:
    """Score clips with one detector, encoding the rows of all of them together."""
    rows = np.concatenate([clip.data for clip in clips])
    parts = [detector.encode(rows[at : at + rows_per_pass]) for at in range(0, len(rows), rows_per_pass)]
    ends = np.cumsum([len(clip.data) for clip in clips])[:-1]
    features = np.split(np.concatenate(parts), ends)
    return tuple(
        replace(detector.decide(part, clip.times_s), track=clip.track)
        for part, clip in zip(features, clips, strict=True)
    )


def read_bytes(path: Path) -> NDArray[np.uint8]:
    """A file's bytes as `(size_bytes,)` uint8, mapped and not read; raises `EmptyMedia` or `OSError`."""
    if path.stat().st_size == 0:
        raise EmptyMedia(f"{path.name} is empty: 0 bytes.")
    return np.asarray(np.memmap(path, np.uint8, "r"))
