"""Fitting calibration and fusion weights: pure functions of arrays.

`fake` is `(N,)` bool. Both fits are at even odds: reals together weigh as much as fakes together, so `p_fake` is the
probability where either is as likely, whatever the share of fakes in the data.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.metrics import Bools, Floats

STEPS = 5000  # of the accelerated gradient method; it has converged to six digits long before on standardised columns
STILL = 1e-10  # a step that moves no coefficient by more ends the search
FLATTEST = 1e-3  # smallest scale, per standard deviation of the logits: the catalogue wants it above 0
PULL = 0.01  # of the ridge towards equal weights, against a mean loss of about 0.7


@dataclass(frozen=True, slots=True)
class Platt:
    """`p_fake = sigmoid(scale * logit + bias)`; `scale` is above 0."""

    scale: float
    bias: float
    informative: bool = True

    def calibrated(self, logits: Floats) -> Floats:
        """Calibrated logits, same shape."""
        return np.asarray(self.scale * logits + self.bias, np.float64)


def fit_platt(fake: Bools, logits: Floats) -> Platt:
    """Platt scaling of raw logits `(N,)`, of both classes.

    The targets are Platt's ("Probabilistic outputs for support vector machines", 1999): a little inside 0 and 1, by the
    count of each class, which is what keeps separable data finite. A detector that is no better than chance, or the
    wrong way round, gets the flattest curve there may be and `informative` False: it is not turned round.
    """
    spread, middle = float(logits.std()) or 1.0, float(logits.mean())
    columns = np.stack([(logits - middle) / spread, np.ones_like(logits)], axis=1)
    lower = np.array([FLATTEST, -np.inf])
    slope, offset = _logistic(columns, fake, Hold(lower, np.zeros(2), np.zeros(2)))
    return Platt(slope / spread, offset - slope * middle / spread, slope > 2 * FLATTEST)


def fit_weights(fake: Bools, logits: Floats, pull: float = PULL) -> Floats:
    """Fusion weights of detectors from their calibrated logits.

    Logistic regression of the sum of weighted logits with a free bias, weights not negative, a ridge that pulls them to
    one common value. The router averages with these weights, so only their ratios count: the largest is 1.

    Args:
        fake: `(N,)`.
        logits: `(N, D)` calibrated; NaN where a detector gave no score, which counts as no evidence.
        pull: of the ridge.

    Returns:
        `(D,)` in [0, 1]; all 1 if none is worth anything.
    """
    if logits.shape[1] == 1:
        return np.ones(1)
    known = np.nan_to_num(logits, nan=0.0)
    common = _logistic_one(fake, known.sum(axis=1))
    columns = np.concatenate([known, np.ones((len(known), 1))], axis=1)
    detectors = known.shape[1]
    lower = np.append(np.zeros(detectors), -np.inf)
    ridge = np.append(np.full(detectors, pull), 0.0)
    towards = np.append(np.full(detectors, common), 0.0)
    weights = _logistic(columns, fake, Hold(lower, ridge, towards))[:-1]
    top = float(weights.max())
    return np.asarray(weights / top, np.float64) if top > 0 else np.ones(detectors)


def fused(logits: Floats, weights: Floats) -> Floats:
    """`(N,)` what the router makes of calibrated logits `(N, D)`: their weighted mean; NaN where nobody answered.

    Of clips with one subject it is exactly that; with several faces the router fuses face by face.
    """
    answered = ~np.isnan(logits)
    total = (answered * weights).sum(axis=1)
    sums = np.nan_to_num(logits * weights, nan=0.0).sum(axis=1)
    return np.asarray(np.divide(sums, total, out=np.full(len(logits), np.nan), where=total > 0), np.float64)


def sigmoid(logits: Floats) -> Floats:
    """The logistic function, without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)), np.float64)


def smoothed(fake: Bools) -> Floats:
    """Platt's targets `(N,)`."""
    fakes, reals = int(fake.sum()), int((~fake).sum())
    return np.where(fake, (fakes + 1) / (fakes + 2), 1 / (reals + 2))


def balanced(fake: Bools) -> Floats:
    """`(N,)` weights of items that add up to 1, half of it in either class."""
    fakes, reals = int(fake.sum()), int((~fake).sum())
    return np.where(fake, 0.5 / max(fakes, 1), 0.5 / max(reals, 1))


def folds(groups: NDArray[np.str_], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """`(N,)` the fold of each item; a group is in one fold only."""
    names, of_item = np.unique(groups, return_inverse=True)
    return rng.permutation(np.arange(len(names)) % count)[of_item]


def _logistic_one(fake: Bools, score: Floats) -> float:
    """The one weight of a sum of logits, at least a little above 0: what the ridge pulls to."""
    return max(fit_platt(fake, score).scale, 0.0)


@dataclass(frozen=True, slots=True)
class Hold:
    """What holds coefficients `(C,)`: lower bounds, and a ridge of that strength towards given values."""

    lower: Floats
    ridge: Floats
    towards: Floats


def _logistic(columns: Floats, fake: Bools, hold: Hold) -> Floats:
    """Coefficients `(C,)` of a logistic regression on columns `(N, C)`, with balanced classes and Platt's targets.

    Accelerated projected gradient (Beck and Teboulle, SIAM J. Imaging Sciences 2009) with restarts: convex, so that it
    finds the one minimum. Columns should be of similar spread.
    """
    share, target = balanced(fake), smoothed(fake)
    curvature = float(np.linalg.eigvalsh(columns.T @ (columns * share[:, None])).max()) / 4 + float(hold.ridge.max())
    now = ahead = np.maximum(hold.towards, hold.lower)
    pace = 1.0
    for _ in range(STEPS):
        slope = columns.T @ (share * (sigmoid(columns @ ahead) - target)) + hold.ridge * (ahead - hold.towards)
        new = np.maximum(ahead - slope / curvature, hold.lower)
        if float(np.dot(ahead - new, new - now)) > 0:
            pace = 1.0  # it overshot: start the acceleration over
        faster = (1 + (1 + 4 * pace**2) ** 0.5) / 2
        ahead = new + (pace - 1) / faster * (new - now)
        moved, now, pace = float(np.abs(new - now).max()), new, faster
        if moved < STILL:
            break
    return now
