"""Who decided, and what is to be explained of whom."""

from collections import defaultdict
from dataclasses import dataclass
from math import exp, log

from models.types import Region, Verdict

Subject = tuple[Region, int | None]
"""A face by its track, the whole frame, or the sound."""
ROWS = 3  # frames that are named, and maps, per subject at most
NEAREST = 1e-12  # to 0 or 1 that a probability is taken for


@dataclass(frozen=True, slots=True)
class Moments:
    """What to explain: a face by its track or the whole frame (None), and when; without times, evenly spread rows."""

    track: int | None
    times_s: tuple[float, ...] = ()


def decider(verdict: Verdict) -> Subject | None:
    """The subject that decided: the face that is marked, else the more fake of frame and sound, if any."""
    if verdict.p_fake is None:
        return None
    for face in verdict.faces:
        if face.decided:
            return "face", face.track
    logits = _logits(verdict)
    region = max(logits, key=lambda of: logits[of], default=None)
    return None if region is None else (region, None)


def p_fake_of(verdict: Verdict, subject: Subject) -> float:
    """A subject's own probability. It need not be the verdict's: another may have scored higher and abstained."""
    region, track = subject
    own = [face.p_fake for face in verdict.faces if region == "face" and face.track == track]
    if own and own[0] is not None:
        return own[0]
    logit = _logits(verdict).get(region)
    return 1 / (1 + exp(-logit)) if logit is not None else verdict.p_fake or 0.0


def _logits(verdict: Verdict) -> dict[Region, float]:
    """Of the frame and of the sound, by the detectors that have a say."""
    sums: dict[Region, float] = defaultdict(float)
    weights: dict[Region, float] = defaultdict(float)
    for report in verdict.detectors:
        if report.p_fake is not None and report.weight > 0 and report.region != "face":
            sums[report.region] += report.weight * _logit(report.p_fake)
            weights[report.region] += report.weight
    return {region: sums[region] / weights[region] for region in sums}


def _logit(p: float) -> float:
    p = min(max(p, NEAREST), 1 - NEAREST)
    return log(p / (1 - p))
