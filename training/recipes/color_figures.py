"""What the colours say about clips of other persons, and what a single number made of the same colours says.

A network that reads how colours change must beat their mean, their spread and their plain flicker: these measures know
nothing of forgery. Each is taken in the direction in which it does better, which flatters it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.evaluation.metrics import Figure, auc, figures

SEED = 20261121
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Beside:
    """One family after one history.

    Attributes:
        level: the history.
        family: of forgeries.
        pairs: real clips, and as many forgeries.
        auc: of the network, with its interval over persons.
        measure: the plain measure that does best.
        measure_auc: of it.
        ahead: how far the network is ahead of it.
    """

    level: str
    family: str
    pairs: int
    auc: Figure
    measure: str
    measure_auc: Figure
    ahead: Figure


def beside_measures(level: str, family: str, logits: Floats, histograms: NDArray[np.uint8]) -> Beside:
    """The network and the best plain measure on the same clips.

    Args:
        level: the history.
        family: of forgeries.
        logits: `(N, 2)` of the network, real and forged; each row another person.
        histograms: `(N, 2, T, bins * bins)` of the same clips.
    """
    scores = {name: _turned(values) for name, values in plain_measures(histograms).items()}
    best = max(scores, key=lambda name: _auc(scores[name]))

    def statistic(rows: NDArray[np.intp]) -> tuple[float, float, float]:
        ours, theirs = _auc(logits[rows]), _auc(scores[best][rows])
        return ours, theirs, ours - theirs

    persons = [str(i) for i in range(len(logits))]
    ours, theirs, ahead = figures(statistic, persons, np.random.default_rng(SEED))
    return Beside(level, family, len(logits), ours, best, theirs, ahead)


def plain_measures(histograms: NDArray[np.uint8]) -> dict[str, Floats]:
    """Numbers `(...)` by name of clips `(..., T, bins * bins)`, of the shares of red and green."""
    bins = round(histograms.shape[-1] ** 0.5)
    table = histograms.astype(np.float64).reshape(*histograms.shape[:-1], bins, bins)
    measures: dict[str, Floats] = {}
    for name, axis in (("red", -1), ("green", -2)):
        share = table.sum(axis=axis)
        share /= share.sum(axis=-1, keepdims=True)
        centres = (np.arange(bins) + 0.5) / bins
        mean = share @ centres
        measures |= {
            f"mean {name}": mean.mean(axis=-1),
            f"spread of {name}": (share @ centres**2 - mean**2).mean(axis=-1),
            f"wandering {name}": mean.std(axis=-1),
            f"flicker of {name}": np.abs(np.diff(mean, axis=-1)).mean(axis=-1),
        }
    return measures


def write_figures(path: Path, rows: list[Beside]) -> None:
    """As JSON, in the order given."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", "utf-8")


def line(row: Beside) -> str:
    """One row in words."""
    return (
        f"{row.level:12} {row.family:26} AUC {_words(row.auc)}  {row.measure} {_words(row.measure_auc)}"
        f"  ahead by {_words(row.ahead)}"
    )


def _turned(values: Floats) -> Floats:
    return values if _auc(values) >= 0.5 else -values  # noqa: PLR2004 - chance


def _auc(pairs: Floats) -> float:
    return auc(pairs[:, 0], pairs[:, 1])


def _words(figure: Figure) -> str:
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"
