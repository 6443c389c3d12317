"""Figures in words, the same on the terminal and in the report."""

import math
from collections.abc import Sequence

from training.evaluation.baselines import verdict_on
from training.evaluation.metrics import ECE_BINS, SMALLEST, Figure
from training.evaluation.records import Record
from training.evaluation.summary import Counts, Summary

HEADLINES = (
    ("auc", "AUC of clips", "share of pairs of a real and a fake in the right order; 0.5 is chance"),
    (
        "frame_auc",
        "AUC of single frames",
        "the same of frames, where a detector scores them; each has its clip's label",
    ),
    ("eer", "equal error rate", "where as many reals are called fake as fakes real"),
    ("accuracy", "accuracy at 0.5", "share on the right side of 0.5"),
    ("accuracy_decided", "accuracy of verdicts", "share of the verdicts REAL and FAKE that are right"),
    ("brier", "Brier score", "mean squared error of p(fake); 0.25 is what a constant 0.5 gets; lower is better"),
    ("ece", "expected calibration error", f"mean distance of score and share of fakes, {ECE_BINS} bins of equal width"),
    ("false_alarm", "reals called FAKE", "false alarms, at the verdict's bound"),
    ("abstained_real", "reals UNDETERMINED", "no score, or one between the bounds"),
    ("miss", "fakes called REAL", "misses, at the verdict's bound"),
    ("abstained_fake", "fakes UNDETERMINED", "no score, or one between the bounds"),
    ("detected", "fakes called FAKE", ""),
    ("abstained", "UNDETERMINED in all", "of all items that could be analysed"),
)
"""Every headline figure: its name in `Summary.figures`, what it is called, what it is."""
WORST = 10  # mistakes of each class that are listed


def figure(found: Figure, digits: int = 3) -> str:
    """`0.885 [0.855, 0.914]`; a dash where there is none."""
    if math.isnan(found.value):
        return "-"
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def number(value: float) -> str:
    """Three digits; a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def notes(summary: Summary) -> list[str]:
    """What must be read with the figures, most important first."""
    counts = summary.counts
    lines = [verdict_on(summary.baselines, summary.figures["auc"].value)]
    if counts.groups < SMALLEST:
        lines.append(
            f"There are only {counts.groups} groups: the intervals are wide, and with so few they are still rather too "
            "narrow. Do not rank detectors by these figures."
        )
    if counts.failed:
        lines.append(f"{of_items(sum(counts.failed.values()))} could not be analysed: {tally(counts.failed)}.")
    lines += _without_score(counts)
    lines += _members(summary)
    return lines


def _without_score(counts: Counts) -> list[str]:
    missing = sum(counts.unscored.values())
    if not missing:
        return []
    said = f"{of_items(missing)} got no score ({tally(counts.unscored)})"
    return [f"{said}: AUC, errors and calibration leave them out; the shares of verdicts count them as UNDETERMINED."]


def _members(summary: Summary) -> list[str]:
    """Whether an ensemble is worth its members."""
    if len(summary.detectors) < 2:  # noqa: PLR2004
        return []
    known = [line for line in summary.detectors if not math.isnan(line.lead.value)]
    if not known:
        return []
    best = min(known, key=lambda line: line.lead.value)
    lead = round(best.lead.value, 3)  # as it is printed
    how = "not worse than" if lead >= 0 else "WORSE than"
    surely = "" if lead >= 0 or best.lead.high < 0 else ", though not surely"
    aucs = f"its AUC is {best.auc.value + best.lead.value:.3f} to {best.auc.value:.3f}"
    said = (
        f"The ensemble is {how} its best member{surely}: on the {of_items(best.scored)} that {best.id} scored, {aucs}"
    )
    return [f"{said}; the difference is {figure(best.lead)}."]


def of_items(count: int) -> str:
    """`1 item`, `2 items`."""
    return f"{count} item{'' if count == 1 else 's'}"


def tally(counts: dict[str, int]) -> str:
    """`3 empty_media, 1 too_long`."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def worst(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """The reals with the highest scores and the fakes with the lowest, on the wrong side of 0.5; the worst first."""
    scored = [(record.p_fake, record) for record in records if not record.variant and record.p_fake is not None]
    ordered = [record for _, record in sorted(scored, key=lambda pair: pair[0])]
    low = [record for record in ordered if record.fake and (record.p_fake or 0) < 0.5]  # noqa: PLR2004
    high = [record for record in reversed(ordered) if not record.fake and (record.p_fake or 0) > 0.5]  # noqa: PLR2004
    return high[:WORST], low[:WORST]
