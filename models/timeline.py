"""Scores over the media's own time: fused curves, stretches above the threshold, and how a curve runs."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from models.detectors.catalogue import ModelRow, VerdictRow
from models.judgement import label
from models.outcomes import Outcome, Subject, calibrated, sigmoid, subject_of
from models.types import ClipScore, Label, Pattern, Segment, Temporal, TimelinePoint, Transition, Trend

Floats = NDArray[np.float64]

TREND_CHANGE = 0.1  # of p_fake from first to last point, below which a trend is stable
SUSTAINED_SHARE = 0.8  # of the points past a bound, for a sustained pattern
# An anomaly is three standard deviations from the median, which 1.4826 median deviations estimate (Rousseeuw and Croux,
# JASA 1993), and at least this far: of a flat curve every ripple is many deviations away.
ANOMALY_DEVIATIONS = 3 * 1.4826
LEAST_ANOMALY = 0.1


def timeline(outcomes: Iterable[Outcome], sound_s: float) -> tuple[TimelinePoint, ...]:
    """Scores over time, fused over the detectors that give any, by subject.

    A detector's curve has a point per frame (of a head that was trained per frame) or per window, at its middle; a
    window that is longer than the sound, which was repeated or padded, ends with it, after `sound_s` seconds. The
    fused curve has a point wherever one of them has; between its points a detector's curve is linear, and beyond its
    ends it says nothing.
    """
    curves: dict[Subject, list[_Curve]] = defaultdict(list)
    for outcome in sorted(outcomes, key=lambda outcome: outcome.row.id):  # so that sums do not depend on the order
        for score in outcome.scores:
            if curve := _curve(outcome.row, score, sound_s):
                curves[subject_of(outcome, score)].append(curve)
    points = [point for subject, found in curves.items() for point in _fused_curve(subject, found)]
    return tuple(sorted(points, key=lambda point: (point.t_s, point.region, point.face or 0)))


def segments(points: Sequence[TimelinePoint], threshold: float) -> Iterator[Segment]:
    """Stretches of consecutive points of one subject above the threshold."""
    subjects = sorted({(point.region, point.face) for point in points}, key=lambda of: (of[0], of[1] or 0))
    for subject in subjects:
        for above, run in groupby(of_subject(points, subject), key=lambda point: point.p_fake > threshold):
            stretch = list(run)
            if above:
                scores = [point.p_fake for point in stretch]
                mean = sum(scores) / len(scores)
                yield Segment(stretch[0].t_s, stretch[-1].t_s, mean, max(scores), source_of(subject))


def temporal(points: Sequence[TimelinePoint], subject: Subject, bounds: VerdictRow) -> Temporal | None:
    """How a subject's curve runs; None if it has fewer than two points."""
    own = of_subject(points, subject)
    if len(own) < 2:  # noqa: PLR2004 - a single point does not run
        return None
    times, scores = np.array([point.t_s for point in own]), np.array([point.p_fake for point in own])
    crossings = tuple(transitions(own, bounds))
    slope = slope_per_s(times, scores)
    return Temporal(
        source=source_of(subject),
        consistency=1 - min(2 * float(scores.var()), 1.0),
        trend=_trend(slope * float(times[-1] - times[0])),
        slope_per_s=slope,
        pattern=_pattern([label(point.p_fake, bounds) for point in own], crossings),
        transitions=crossings,
        anomalies_s=tuple(times[anomalous(scores)].tolist()),
    )


def transitions(points: Iterable[TimelinePoint], bounds: VerdictRow) -> Iterator[Transition]:
    """Where a curve gets past the other bound than it was past before; in the band between, it stays what it was."""
    side: Label = "UNDETERMINED"
    for point in points:
        now = label(point.p_fake, bounds)
        if now in {side, "UNDETERMINED"}:
            continue
        if side != "UNDETERMINED":
            yield Transition(point.t_s, now)
        side = now


def slope_per_s(times_s: Floats, scores: Floats) -> float:
    """The Theil-Sen slope (Sen, JASA 1968): the median of the slopes between all pairs of points; 0 at one time."""
    first, second = np.triu_indices(len(times_s), 1)
    apart = times_s[second] - times_s[first]
    slopes = (scores[second] - scores[first])[apart > 0] / apart[apart > 0]
    return float(np.median(slopes)) if len(slopes) else 0.0


def anomalous(scores: Floats) -> NDArray[np.bool_]:
    """`(P,)` which scores lie far from the median."""
    away = np.abs(scores - np.median(scores))
    return np.asarray(away > max(ANOMALY_DEVIATIONS * float(np.median(away)), LEAST_ANOMALY), np.bool_)


def _trend(change: float) -> Trend:
    if abs(change) < TREND_CHANGE:
        return "stable"
    return "rising" if change > 0 else "falling"


def _pattern(sides: Sequence[Label], crossings: Sequence[Transition]) -> Pattern:
    if crossings:
        return "alternating"
    if sides.count("FAKE") >= SUSTAINED_SHARE * len(sides):
        return "sustained_fake"
    return "sustained_real" if sides.count("REAL") >= SUSTAINED_SHARE * len(sides) else "uncertain"


def of_subject(points: Iterable[TimelinePoint], subject: Subject) -> list[TimelinePoint]:
    """The points of one subject, in their order."""
    return [point for point in points if (point.region, point.face) == subject]


def source_of(subject: Subject) -> str:
    """`face 0`, `frame` or `audio`."""
    region, face = subject
    return region if face is None else f"face {face}"


@dataclass(frozen=True, slots=True)
class _Curve:
    """A detector's calibrated logits of one subject: `(P,)` times, increasing, and logits."""

    weight: float
    times_s: Floats
    logits: Floats


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
