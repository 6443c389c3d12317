"""Plots as SVG in data URIs, for a page without external files."""

import base64
import io
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from sklearn.metrics import roc_curve

from training.evaluation.metrics import Bools, Floats, reliability
from training.evaluation.summary import Point

mpl.use("Agg")
from matplotlib.figure import Figure as Canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REAL, FAKE, GUIDE = "#2a6f97", "#c1440e", "#999999"  # told apart without colour vision by their lightness too
HISTOGRAM_BINS = 20
SIDE_INCHES = 3.6
STYLE: dict[Any, Any] = {"svg.hashsalt": "unmask", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def roc(fake: Bools, p_fake: Floats, bounds: tuple[float, float]) -> str:
    """The ROC curve, with the operating point where FAKE begins."""

    def draw(axes: "Axes") -> None:
        false, true, _ = roc_curve(fake, p_fake)
        axes.plot([0, 1], [0, 1], color=GUIDE, linestyle=":")
        axes.step(false, true, color=FAKE, where="post")
        called = p_fake > bounds[1]
        axes.plot(called[~fake].mean(), called[fake].mean(), "o", color="black", label=f"FAKE above {bounds[1]:.2f}")
        axes.legend(loc="lower right", frameon=False)
        axes.set(xlabel="reals called fake", ylabel="fakes called fake", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    return _drawn(draw)


def reliability_diagram(fake: Bools, p_fake: Floats) -> str:
    """The share that is fake against the mean score of each bin; areas of dots follow the counts."""

    def draw(axes: "Axes") -> None:
        bins = reliability(fake, p_fake)
        sizes = [12 + 200 * b.count / len(p_fake) for b in bins]
        axes.plot([0, 1], [0, 1], color=GUIDE, linestyle=":")
        axes.plot([b.p_fake for b in bins], [b.share_fake for b in bins], color=FAKE, linewidth=0.8)
        axes.scatter([b.p_fake for b in bins], [b.share_fake for b in bins], s=sizes, color=FAKE)
        axes.set(xlabel="mean score p(fake)", ylabel="share that is fake", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))

    return _drawn(draw)


def histogram(fake: Bools, p_fake: Floats, bounds: tuple[float, float]) -> str:
    """How many items of each class got which score."""

    def draw(axes: "Axes") -> None:
        edges = np.linspace(0, 1, HISTOGRAM_BINS + 1).tolist()
        axes.hist(p_fake[~fake], edges, color=REAL, alpha=0.65, label="real")
        axes.hist(p_fake[fake], edges, color=FAKE, alpha=0.65, label="fake", hatch="//", edgecolor="white")
        axes.axvspan(*bounds, color=GUIDE, alpha=0.2, label="UNDETERMINED")
        axes.legend(frameon=False)
        axes.set(xlabel="score p(fake)", ylabel="items", xlim=(0, 1))

    return _drawn(draw)


def robustness_curves(points: Sequence[Point]) -> list[tuple[str, str]]:
    """A title and a plot for each kind of media and degradation."""
    found = groupby(points, key=lambda point: (point.kind, point.name))
    return [(f"{kind}: {name}", _curve(list(run))) for (kind, name), run in found]


def _curve(points: Sequence[Point]) -> str:
    def draw(axes: "Axes") -> None:
        at = [point.strength for point in points]
        axes.plot(at, [p.auc.value for p in points], "o-", color="black", label="AUC")
        axes.fill_between(at, [p.auc.low for p in points], [p.auc.high for p in points], color="black", alpha=0.12)
        axes.plot(at, [p.false_alarm.value for p in points], "s--", color=FAKE, label="reals called FAKE")
        axes.plot(at, [p.abstained.value for p in points], "^:", color=REAL, label="UNDETERMINED")
        axes.set_xticks(at, ["as is", *(f"{point.value:g}" for point in points[1:])])
        axes.set(xlabel=points[0].unit, ylim=(-0.02, 1.02))
        axes.legend(frameon=False, fontsize=7)

    return _drawn(draw)


def _drawn(draw: "Callable[[Axes], None]") -> str:
    """What `draw` draws, as a data URI. The same data gives the same bytes: no date, no random identifiers."""
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(SIDE_INCHES, SIDE_INCHES), layout="tight")
        draw(canvas.subplots())
        file = io.BytesIO()
        canvas.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
