"""Figures of a detector, as pure functions of arrays.

Everywhere: `fake` is `(N,)` bool, whether an item is fake; `p_fake` is `(N,)` float64 in [0, 1]; a score is `(N,)`
float64, higher for more fake. A figure that needs what is not there (one class only) is NaN.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

ECE_BINS = 15  # as Guo et al., "On Calibration of Modern Neural Networks", ICML 2017
RESAMPLES = 1000  # the ends of a 95 % interval then rest on 25 resamples each
SMALLEST = 30  # groups below which the percentile bootstrap is known to be too narrow; the report says so


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval; all NaN where it cannot be had."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a reliability diagram: how many items, their mean `p_fake`, the share of them that is fake."""

    count: int
    p_fake: float
    share_fake: float


def auc(real: Floats, fake: Floats) -> float:
    """Area under the ROC curve of the scores of reals and fakes: the share of pairs in order, ties half.

    Hanley and McNeil, Radiology 1982. sklearn's is 20 times slower, felt in a bootstrap.
    """
    order = np.sort(real)
    below, not_above = (np.searchsorted(order, fake, side=side) for side in ("left", "right"))
    return float((below.mean() + not_above.mean()) / (2 * len(real)))


def eer(real: Floats, fake: Floats) -> float:
    """Equal error rate: where as many reals are called fake as fakes real."""
    thresholds = np.append(np.unique(np.concatenate([real, fake])), np.inf)
    false = 1 - np.searchsorted(np.sort(real), thresholds) / len(real)
    missed = np.searchsorted(np.sort(fake), thresholds) / len(fake)
    at = int(np.argmin(np.abs(false - missed)))
    return float((false[at] + missed[at]) / 2)


def area(fake: Bools, score: Floats) -> float:
    """`auc` of labelled scores; NaN for one class."""
    return auc(score[~fake], score[fake]) if fake.any() and not fake.all() else float("nan")


def equal_error(fake: Bools, score: Floats) -> float:
    """`eer` of labelled scores; NaN for one class."""
    return eer(score[~fake], score[fake]) if fake.any() and not fake.all() else float("nan")


def brier(fake: Bools, p_fake: Floats) -> float:
    """Mean squared error of the probability (Brier, Monthly Weather Review 1950); 0.25 is what a constant 0.5 gets."""
    return mean((p_fake - fake) ** 2)


def reliability(fake: Bools, p_fake: Floats, bins: int = ECE_BINS) -> list[Bin]:
    """The bins of equal width over [0, 1] that hold any item, in order; a bin's upper end belongs to it."""
    number = np.clip(np.ceil(p_fake * bins) - 1, 0, bins - 1).astype(int)
    sums = (np.bincount(number, weights, bins) for weights in (None, p_fake, fake))
    return [Bin(int(n), float(p / n), float(f / n)) for n, p, f in zip(*sums, strict=True) if n]


def calibration_error(fake: Bools, p_fake: Floats) -> float:
    """Expected calibration error: mean distance between `p_fake` and the share that is fake, over bins by their count.

    Naeini et al., AAAI 2015, on the probability of fake (not of the predicted class), 15 bins of equal width.
    """
    if not len(p_fake):
        return float("nan")
    return sum(b.count * abs(b.p_fake - b.share_fake) for b in reliability(fake, p_fake)) / len(p_fake)


def accuracy(fake: Bools, p_fake: Floats, threshold: float = 0.5) -> float:
    """Share of items on the right side of a threshold."""
    return mean((p_fake > threshold) == fake)


def mean(values: Floats | Bools) -> float:
    """The mean, NaN of nothing, without numpy's warning."""
    return float(np.mean(values, dtype=np.float64)) if len(values) else float("nan")


def resampled(groups: Sequence[str], rng: np.random.Generator, resamples: int = RESAMPLES) -> Iterator[Indices]:
    """Bootstrap over groups: indices of the items of as many groups as there are, drawn with replacement.

    Items of one group (a person, a speaker, a clip and its versions) are not independent; drawing items would make
    intervals too narrow (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
    """
    names, of_item = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    members = np.split(np.argsort(of_item, kind="stable"), np.cumsum(np.bincount(of_item))[:-1])
    for draw in rng.integers(len(names), size=(resamples, len(names))):
        yield np.concatenate([members[group] for group in draw])


def figures(
    statistic: Callable[[Indices], Sequence[float]],
    groups: Sequence[str],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> list[Figure]:
    """Statistics of all items with their 95 % percentile intervals.

    Args:
        statistic: values of the items of these indices; some may be NaN, as of a resample without one class, and are
            then left out of that statistic's interval.
        groups: `(N,)` the group of each item.
        rng: draws the resamples.
        resamples: how many.
    """
    values = statistic(np.arange(len(groups)))
    drawn = np.array([statistic(chosen) for chosen in resampled(groups, rng, resamples)])
    return [Figure(float(value), *_percentiles(column)) for value, column in zip(values, drawn.T, strict=True)]


def _percentiles(values: Floats) -> tuple[float, float]:
    kept = values[~np.isnan(values)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.percentile(kept, [2.5, 97.5])
    return float(low), float(high)
