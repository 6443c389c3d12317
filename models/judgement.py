"""From calibrated scores of one subject to a verdict on it, or to an abstention with its reason."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.detectors.catalogue import VerdictRow
from models.outcomes import Subject, Voice, fused, sigmoid
from models.types import Label, ReasonCode

LEAST_SHARE = 0.25  # of the weight, on either side, for a disagreement: what counts for little silences nobody


@dataclass(frozen=True, slots=True)
class Judged:
    """A subject with its fused logit, the verdict on it, and why that is UNDETERMINED."""

    subject: Subject
    logit: float
    verdict: Label
    code: ReasonCode = ""
    reason: str = ""

    @property
    def p_fake(self) -> float:
        """The fused probability."""
        return sigmoid(self.logit)


def judged(voices: Mapping[Subject, Sequence[Voice]], bounds: VerdictRow) -> tuple[Judged, ...]:
    """Every subject on its own."""
    return tuple(judge(subject, said, bounds) for subject, said in voices.items())


def judge(subject: Subject, voices: Sequence[Voice], bounds: VerdictRow) -> Judged:
    """One subject: fake, real, or undetermined because the detectors disagree or the fused score is in between."""
    logit = fused(voices)
    if disagree(voices, bounds):
        says = sorted((sigmoid(voice.logit), voice.row.id) for voice in voices)
        reason = "detectors disagree: " + ", ".join(f"{name} {p_fake:.2f}" for p_fake, name in says)
        return Judged(subject, logit, "UNDETERMINED", "detectors_disagree", reason)
    p_fake = sigmoid(logit)
    if (verdict := label(p_fake, bounds)) == "UNDETERMINED":
        between = f"{p_fake:.2f} lies between {bounds.real_below:.2f} and {bounds.fake_above:.2f}"
        return Judged(subject, logit, verdict, "spans_threshold", f"score spans the threshold: {between}")
    return Judged(subject, logit, verdict)


def label(p_fake: float | None, bounds: VerdictRow) -> Label:
    """What a probability means."""
    if p_fake is None or bounds.real_below <= p_fake <= bounds.fake_above:
        return "UNDETERMINED"
    return "FAKE" if p_fake > bounds.fake_above else "REAL"


def disagree(voices: Sequence[Voice], bounds: VerdictRow) -> bool:
    """Whether some detectors are sure of fake and others of real.

    Sure is half way from a bound of the verdict to certainty: above 0.8 and below 0.2 with bounds of 0.6 and 0.4.
    Either side must have a quarter of the subject's weight. A detector that is not calibrated is never sure.
    """
    surely_fake, surely_real = (1 + bounds.fake_above) / 2, bounds.real_below / 2
    least = LEAST_SHARE * math.fsum(voice.row.weight for voice in voices)
    known = [(sigmoid(voice.logit), voice.row.weight) for voice in voices if voice.row.is_calibrated]
    fake = math.fsum(weight for p_fake, weight in known if p_fake > surely_fake)
    real = math.fsum(weight for p_fake, weight in known if p_fake < surely_real)
    return min(fake, real) >= least > 0


def foremost(subjects: Iterable[Judged]) -> Judged | None:
    """Who decides: the most fake of those found FAKE; if none is, the most fake one."""
    return max(subjects, key=lambda found: (found.verdict == "FAKE", found.logit), default=None)
