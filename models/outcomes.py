"""What became of each detector, before anything is decided: scores that can be judged, calibrated, by subject."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.detectors.catalogue import ModelRow, VerdictRow
from models.extraction import Extraction, nothing_to_see
from models.types import ClipScore, DetectorState, ReasonCode, Region, Track

# A face seen in one analysed frame of a longer clip is more often a mistake of the face detector than a person.
MIN_SIGHTINGS = 2
SINGLE_FRAMES = 3  # clips of at most so many analysed frames are judged by a single sighting
# Beyond it the logistic function is 0 or 1 in double precision; within it sums of many stay finite.
LARGEST_LOGIT = 700.0

Subject = tuple[Region, int | None]
"""What a score is of: a face by its track, the whole frame, or the sound."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one detector made of one clip of media: scores per subject, or why there are none."""

    row: ModelRow
    status: DetectorState
    scores: tuple[ClipScore, ...] = ()
    why: str = ""
    device: str = ""
    gpu_memory_bytes: int = 0
    code: ReasonCode = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Voice:
    """What one detector says of one subject: a calibrated logit."""

    row: ModelRow
    logit: float


def sigmoid(logit: float) -> float:
    """The logistic function, without overflow for large negative logits."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    return math.exp(logit) / (1 + math.exp(logit))


def calibrated(row: ModelRow, logit: float) -> float:
    """A detector's logit after its Platt scaling; still a logit, within 700 of 0."""
    return min(max(row.calibration.scale * logit + row.calibration.bias, -LARGEST_LOGIT), LARGEST_LOGIT)


def fused(voices: Sequence[Voice]) -> float:
    """The weighted mean of calibrated logits, at least one; exactly the same in whatever order they come."""
    weight = math.fsum(voice.row.weight for voice in voices)
    return math.fsum(voice.row.weight * voice.logit for voice in voices) / weight


def voices(outcomes: Iterable[Outcome]) -> dict[Subject, list[Voice]]:
    """What is said of each subject: faces by their track, then the whole frame, then the sound."""
    found: dict[Subject, list[Voice]] = defaultdict(list)
    for outcome in outcomes:
        for score in outcome.scores:
            found[subject_of(outcome, score)].append(Voice(outcome.row, calibrated(outcome.row, score.logit)))
    order: tuple[Region, ...] = ("face", "frame", "audio")
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0][0]), item[0][1] or 0)))


def subject_of(outcome: Outcome, score: ClipScore) -> Subject:
    """What a detector's score is of."""
    return outcome.row.view.region, score.track


def not_applicable(row: ModelRow, extraction: Extraction) -> Outcome:
    """The outcome of a detector whose view has no clip."""
    lack = nothing_to_see(row.view.view(), extraction)
    return Outcome(row, "not_applicable", why=lack.why, code=lack.code)


def judgeable(outcome: Outcome, extraction: Extraction, bounds: VerdictRow) -> Outcome:
    """An outcome with those scores only that can be judged; where none is left, it says why."""
    return _without_glimpses(_without_small(_finite(_missed(outcome, extraction)), extraction, bounds), extraction)


def _missed(outcome: Outcome, extraction: Extraction) -> Outcome:
    """What is not installed is not missed on media that it does not take."""
    media = extraction.media
    takes = media.audio_s > 0 if outcome.row.view.region == "audio" else media.kind != "audio"
    if outcome.status != "not_installed" or takes:
        return outcome
    why = "not installed, and nothing here for it"
    return replace(outcome, status="not_applicable", why=why, code="nothing_applicable")


def _finite(outcome: Outcome) -> Outcome:
    """A score that is no number, as overflow in half precision or damaged weights give, is a failure, not a score."""
    logits = [v for score in outcome.scores for v in (score.logit, *score.per_frame_logits, *score.per_window_logits)]
    times = [t for score in outcome.scores for ends in (score.times_s, *score.windows_s) for t in ends]
    if all(map(math.isfinite, logits + times)):
        return outcome
    return replace(outcome, status="failed", scores=(), why="its score is not a finite number")


def _without_small(outcome: Outcome, extraction: Extraction, bounds: VerdictRow) -> Outcome:
    """Leave out faces with too few pixels to be judged."""
    sides = {track.number: longer_side(track) for track in extraction.tracks}
    small = {number for number, side in sides.items() if side < bounds.face_px}
    largest = max((sides[number] for number in small), default=0.0)
    why = f"face too small: {largest:.0f} pixels, {bounds.face_px} are needed"
    return _without(outcome, small, "face_too_small", why)


def longer_side(track: Track) -> float:
    """The median, over the frames it was found in, of the longer side of a face's box in the upright picture."""
    return float(np.median((track.boxes_xyxy[:, 2:] - track.boxes_xyxy[:, :2]).max(axis=1)))


def _without_glimpses(outcome: Outcome, extraction: Extraction) -> Outcome:
    """Leave out faces that were seen too briefly to be judged."""
    if extraction.media.frames_analysed <= SINGLE_FRAMES:
        return outcome
    brief = {track.number for track in extraction.tracks if len(track.times_s) < MIN_SIGHTINGS}
    return _without(outcome, brief, "too_few_frames", "face too brief: seen in one analysed frame only")


def _without(outcome: Outcome, tracks: set[int], code: ReasonCode, why: str) -> Outcome:
    scores = tuple(score for score in outcome.scores if score.track not in tracks)
    if outcome.status != "ok" or scores or not outcome.scores:
        return replace(outcome, scores=scores)
    return replace(outcome, status="not_applicable", scores=(), why=why, code=code)
