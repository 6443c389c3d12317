"""From the detectors' scores to one verdict: calibrate, fuse, decide or abstain.

Each detector's logit is calibrated on its own (Platt scaling), then the calibrated logits are averaged with the
catalogue's weights, face by face; what looks at whole frames counts with every face it shows. Media is as fake as its
most fake subject: a face, the frame if no face was scored, or the sound. A detector whose row says `fused: false` is
reported in the ensemble and decides nothing there.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from models.detectors.catalogue import ENSEMBLE, ModelRow, VerdictRow
from models.extraction import Extraction
from models.types import (
    ClipScore,
    DetectorReport,
    DetectorState,
    FaceBox,
    FaceReport,
    Label,
    Region,
    Segment,
    TimelinePoint,
    Track,
    Verdict,
)

# A face seen in one analysed frame of a longer clip is more often a mistake of the face detector than a person.
MIN_SIGHTINGS = 2
SINGLE_FRAMES = 3  # clips of at most so many analysed frames are judged by a single sighting

Subject = tuple[Region, int | None]
"""What a score is of: a face by its track, the whole frame, or the sound."""
FRAME: Subject = ("frame", None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one detector made of one clip of media: scores per subject, or why there are none."""

    row: ModelRow
    status: DetectorState
    scores: tuple[ClipScore, ...] = ()
    why: str = ""
    device: str = ""
    gpu_memory_bytes: int = 0


def fuse(extraction: Extraction, outcomes: Sequence[Outcome], bounds: VerdictRow, model: str) -> Verdict:
    """One verdict from everything that was found out. Pure: the same input gives the same verdict."""
    outcomes = [_without_glimpses(_finite(_missed(outcome, extraction)), extraction) for outcome in outcomes]
    deciding = [outcome for outcome in outcomes if _decides(outcome, model)]
    logits = _fused_logits(deciding)
    decider = max(logits, key=lambda subject: logits[subject], default=None)
    p_fake = None if decider is None else sigmoid(logits[decider])
    timeline = _timeline(deciding, extraction.media.audio_s)
    return Verdict(
        verdict=_decide(p_fake, bounds),
        p_fake=p_fake,
        confidence=0.0 if p_fake is None else max(p_fake, 1 - p_fake),
        reason=_reason(p_fake, bounds, outcomes, extraction.media.kind),
        degraded=any(outcome.status in {"failed", "late", "not_installed"} for outcome in deciding),
        mode="ensemble" if model == ENSEMBLE else "single",
        model=model,
        media=extraction.media,
        detectors=tuple(_report(outcome, decides=_decides(outcome, model)) for outcome in outcomes),
        faces=tuple(_face(track, logits, decider) for track in extraction.tracks),
        timeline=timeline,
        segments=tuple(_segments(timeline, bounds.fake_above)),
        timings=extraction.timings,
    )


def _decides(outcome: Outcome, model: str) -> bool:
    """In the ensemble what is fused does; by its own name every detector does."""
    return outcome.row.fused or model != ENSEMBLE


def sigmoid(logit: float) -> float:
    """The logistic function, without overflow for large negative logits."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    return math.exp(logit) / (1 + math.exp(logit))


def calibrated(row: ModelRow, logit: float) -> float:
    """A detector's logit after its Platt scaling; still a logit."""
    return row.calibration.scale * logit + row.calibration.bias


def _missed(outcome: Outcome, extraction: Extraction) -> Outcome:
    """What is not installed is not missed on media that it does not take."""
    media = extraction.media
    takes = media.audio_s > 0 if outcome.row.view.region == "audio" else media.kind != "audio"
    if outcome.status != "not_installed" or takes:
        return outcome
    return replace(outcome, status="not_applicable", why="not installed, and nothing here for it")


def _finite(outcome: Outcome) -> Outcome:
    """A score that is no number, as overflow in half precision or damaged weights give, is a failure, not a score."""
    logits = [v for score in outcome.scores for v in (score.logit, *score.per_frame_logits, *score.per_window_logits)]
    if all(map(math.isfinite, logits)):
        return outcome
    return replace(outcome, status="failed", scores=(), why="its score is not a finite number")


def _without_glimpses(outcome: Outcome, extraction: Extraction) -> Outcome:
    """Leave out faces that were seen too briefly to be judged."""
    if outcome.status != "ok" or extraction.media.frames_analysed <= SINGLE_FRAMES:
        return outcome
    brief = {track.number for track in extraction.tracks if len(track.times_s) < MIN_SIGHTINGS}
    scores = tuple(score for score in outcome.scores if score.track not in brief)
    if scores:
        return replace(outcome, scores=scores)
    return replace(outcome, status="not_applicable", scores=(), why="face too brief: seen in one analysed frame only")


def _fused_logits(outcomes: Iterable[Outcome]) -> dict[Subject, float]:
    sums: dict[Subject, float] = defaultdict(float)
    weights: dict[Subject, float] = defaultdict(float)
    for outcome in outcomes:
        for score in outcome.scores:
            subject = _subject(outcome, score)
            sums[subject] += outcome.row.weight * calibrated(outcome.row, score.logit)
            weights[subject] += outcome.row.weight
    faces = [subject for subject in sums if subject[0] == "face"]
    if faces and FRAME in sums:  # the frame shows the faces: its score is evidence on each, not a subject beside them
        frame_sum, frame_weight = sums.pop(FRAME), weights.pop(FRAME)
        for face in faces:
            sums[face] += frame_sum
            weights[face] += frame_weight
    return {subject: sums[subject] / weights[subject] for subject in sums}


def _subject(outcome: Outcome, score: ClipScore) -> Subject:
    return outcome.row.view.region, score.track


def _decide(p_fake: float | None, bounds: VerdictRow) -> Label:
    if p_fake is None or bounds.real_below <= p_fake <= bounds.fake_above:
        return "UNDETERMINED"
    return "FAKE" if p_fake > bounds.fake_above else "REAL"


def _reason(p_fake: float | None, bounds: VerdictRow, outcomes: Sequence[Outcome], kind: str) -> str:
    if p_fake is None:
        return _only_reported(outcomes) if any(o.scores for o in outcomes) else _no_score(outcomes, kind)
    if _decide(p_fake, bounds) == "UNDETERMINED":
        return (
            f"score spans the threshold: {p_fake:.2f} lies between {bounds.real_below:.2f} and {bounds.fake_above:.2f}"
        )
    return ""


def _only_reported(outcomes: Sequence[Outcome]) -> str:
    shy = ", ".join(o.row.id for o in outcomes if o.scores)
    left = [o for o in outcomes if not o.scores]
    whys = {o.why if o.status == "not_applicable" else f"{o.row.id} {o.status} ({o.why})" for o in left}
    return "; ".join([f"{shy} only reported: experimental, it decides when it is asked for by name", *sorted(whys)])


def _no_score(outcomes: Sequence[Outcome], kind: str) -> str:
    if all(outcome.status == "not_applicable" for outcome in outcomes):
        return _nothing_applies(outcomes, kind)
    missing = ", ".join(f"{o.row.id} {o.status} ({o.why})" for o in outcomes if o.status != "not_applicable")
    others = sorted({o.why for o in outcomes if o.status == "not_applicable"})
    return "; ".join([f"no detector answered: {missing}", *others])


def _nothing_applies(outcomes: Sequence[Outcome], kind: str) -> str:
    """The most telling of the reasons: that of a detector which takes this kind of media, if one was asked."""
    fitting = [outcome.why for outcome in outcomes if (outcome.row.view.region == "audio") == (kind == "audio")]
    if fitting or kind == "video":
        return (fitting or [outcome.why for outcome in outcomes])[0]
    sense = "listens to sound" if kind == "audio" else "looks at pictures"
    return f"no detector that was asked {sense}: `unmask models list` shows those that do"


def _report(outcome: Outcome, *, decides: bool) -> DetectorReport:
    logits = [calibrated(outcome.row, score.logit) for score in outcome.scores]
    return DetectorReport(
        id=outcome.row.id,
        revision=outcome.row.revision,
        status=outcome.status,
        why=outcome.why,
        p_fake=sigmoid(max(logits)) if logits else None,
        weight=outcome.row.weight if decides else 0.0,
        device=outcome.device,
        gpu_memory_bytes=outcome.gpu_memory_bytes,
        region=outcome.row.view.region,
        calibrated=outcome.row.is_calibrated,
    )


def _face(track: Track, logits: dict[Subject, float], decider: Subject | None) -> FaceReport:
    logit = logits.get(("face", track.number))
    return FaceReport(
        track=track.number,
        start_s=float(track.times_s[0]),
        end_s=float(track.times_s[-1]),
        p_fake=None if logit is None else sigmoid(logit),
        decided=decider == ("face", track.number),
        lost_frames=len(track.lost_s),
        boxes=tuple(
            FaceBox(float(t), (float(b[0]), float(b[1]), float(b[2]), float(b[3])))
            for t, b in zip(track.times_s, track.boxes_xyxy, strict=True)
        ),
        thumbnail=track.thumbnail,
    )


def _timeline(outcomes: Iterable[Outcome], sound_s: float) -> tuple[TimelinePoint, ...]:
    """Scores over time, fused over the detectors that give any, by subject.

    A detector's curve has a point per frame (of a head that was trained per frame) or per window, at its middle; a
    window that is longer than the sound, which was repeated or padded, ends with it, after `sound_s` seconds. The
    fused curve has a point wherever one of them has; between its points a detector's curve is linear, and beyond its
    ends it says nothing.
    """
    curves: dict[Subject, list[_Curve]] = defaultdict(list)
    for outcome in outcomes:
        for score in outcome.scores:
            if curve := _curve(outcome.row, score, sound_s):
                curves[_subject(outcome, score)].append(curve)
    points = [point for subject, found in curves.items() for point in _fused_curve(subject, found)]
    return tuple(sorted(points, key=lambda point: (point.t_s, point.region, point.face or 0)))


@dataclass(frozen=True, slots=True)
class _Curve:
    """A detector's calibrated logits of one subject: `(P,)` times, increasing, and logits."""

    weight: float
    times_s: NDArray[np.float64]
    logits: NDArray[np.float64]


def _curve(row: ModelRow, score: ClipScore, sound_s: float) -> _Curve | None:
    end_s = sound_s if row.view.region == "audio" and sound_s > 0 else math.inf
    windows = tuple((a + min(b, end_s)) / 2 for a, b in score.windows_s)
    times = score.times_s if score.per_frame_logits else windows
    logits = [calibrated(row, logit) for logit in score.per_frame_logits or score.per_window_logits]
    return _Curve(row.weight, np.array(times), np.array(logits)) if logits else None


def _fused_curve(subject: Subject, curves: Sequence[_Curve]) -> Iterable[TimelinePoint]:
    times = np.unique(np.concatenate([curve.times_s for curve in curves]))
    sums, weights = np.zeros(len(times)), np.zeros(len(times))
    for curve in curves:
        within = (times >= curve.times_s[0]) & (times <= curve.times_s[-1])
        sums += within * curve.weight * np.interp(times, curve.times_s, curve.logits)
        weights += within * curve.weight
    for t_s, logit in zip(times, sums / weights, strict=True):
        yield TimelinePoint(float(t_s), subject[1], sigmoid(float(logit)), subject[0])


def _segments(timeline: Sequence[TimelinePoint], threshold: float) -> Iterable[Segment]:
    """Stretches of consecutive points of one subject above the threshold."""
    subjects = sorted({(point.region, point.face) for point in timeline}, key=lambda of: (of[0], of[1] or 0))
    for region, face in subjects:
        points = [point for point in timeline if (point.region, point.face) == (region, face)]
        for above, run in groupby(points, key=lambda point: point.p_fake > threshold):
            stretch = list(run)
            if above:
                scores = [point.p_fake for point in stretch]
                source = region if face is None else f"face {face}"
                mean = sum(scores) / len(scores)
                yield Segment(stretch[0].t_s, stretch[-1].t_s, mean, max(scores), source)
