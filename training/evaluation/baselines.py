"""What trivial measures alone reach on the same items: a detector that does not beat them clearly may be reading them.

Each measure is taken in whichever direction suits these very items, which flatters it a little where items are few;
where there is no such thing (a recording has no width) it counts as lowest, so that its absence tells too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.measures import NAMES
from training.evaluation.metrics import RESAMPLES, Figure, Floats, Indices, area, figures
from training.evaluation.records import Record

CHANCE = 0.5


@dataclass(frozen=True, slots=True)
class Baseline:
    """A trivial measure.

    Attributes:
        name: in words.
        sign: 1 where higher means more fake, -1 where lower does.
        auc: of the measure alone.
        lead: the detector's area less this one's, with the interval of that difference.
    """

    name: str
    sign: int
    auc: Figure
    lead: Figure

    @property
    def beaten(self) -> bool:
        """Whether the detector beats it clearly: the whole interval of the difference is above 0."""
        return self.lead.low > 0


def against_trivial(scored: Sequence[Record], rng: np.random.Generator, resamples: int = RESAMPLES) -> list[Baseline]:
    """Every measure against the detector, the one that comes closest first.

    Args:
        scored: records with a score, of both classes.
        rng: draws the resamples; detector and measures are compared on the same ones.
        resamples: how many.
    """
    fake = np.array([record.fake for record in scored], bool)
    p_fake = np.array([record.p_fake for record in scored], np.float64)
    rows = [_column(scored, name) for name in NAMES]
    signs = [1 if area(fake, row) >= CHANCE else -1 for row in rows]
    turned = [sign * row for sign, row in zip(signs, rows, strict=True)]

    def areas(at: Indices) -> list[float]:
        own, others = area(fake[at], p_fake[at]), [area(fake[at], row[at]) for row in turned]
        return [*others, *(own - other for other in others)]

    found = figures(areas, [record.group for record in scored], rng, resamples)
    pairs = zip(NAMES.values(), signs, found[: len(NAMES)], found[len(NAMES) :], strict=True)
    return sorted((Baseline(*pair) for pair in pairs), key=lambda baseline: baseline.lead.low)


def verdict_on(baselines: Sequence[Baseline], auc: float) -> str:
    """In words, whether the detector beats them clearly."""
    closest = baselines[0]
    if closest.beaten:
        lead = f"{closest.lead.value:.3f} [{closest.lead.low:.3f}, {closest.lead.high:.3f}]"
        return (
            f"The detector beats every trivial measure clearly; the closest is {closest.name}, which alone reaches an "
            f"AUC of {closest.auc.value:.3f}; the lead is {lead}."
        )
    unbeaten = [f"{b.name} ({b.auc.value:.3f})" for b in baselines if not b.beaten]
    return (
        f"The detector does NOT clearly beat what trivial measures reach on the same items: its AUC is {auc:.3f}, and "
        f"these alone reach {', '.join(unbeaten)}. So these items do not show that it detects forgeries."
    )


def _column(records: Sequence[Record], name: str) -> Floats:
    """`(N,)` values; what is missing is below everything."""
    values = [None if record.measures is None else getattr(record.measures, name) for record in records]
    return np.array([-np.inf if value is None else value for value in values], np.float64)
