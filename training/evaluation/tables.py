"""The summary on a terminal."""

from rich.console import Console
from rich.table import Table

from training.evaluation.summary import Summary
from training.evaluation.words import HEADLINES, figure, notes, number


def show(summary: Summary, console: Console) -> None:
    """Print the figures, then what must be read with them."""
    counts = summary.counts
    title = f"{counts.real} real and {counts.fake} fake items, {counts.groups} groups; 95 % intervals over groups"
    table = Table("figure", "value", title=title, title_justify="left")
    for name, called, _ in HEADLINES:
        table.add_row(called, figure(summary.figures[name]))
    console.print(table)
    console.print(_baselines(summary))
    if len(summary.detectors) > 1:
        console.print(_detectors(summary))
    if summary.parts:
        console.print(_parts(summary))
    if summary.robustness:
        console.print(_robustness(summary))
    for line in notes(summary):
        console.print(f"- {line}", markup=False, highlight=False)


def _baselines(summary: Summary) -> Table:
    table = Table("trivial measure", "AUC alone", "the detector's lead", "beaten clearly")
    for baseline in summary.baselines:
        beaten = "yes" if baseline.beaten else "NO"
        table.add_row(baseline.name, figure(baseline.auc), figure(baseline.lead), beaten)
    return table


def _detectors(summary: Summary) -> Table:
    table = Table("detector alone", "scored", "AUC of clips", "ensemble's lead", "calibration error")
    for line in summary.detectors:
        table.add_row(line.id, str(line.scored), figure(line.auc), figure(line.lead), number(line.ece))
    return table


def _parts(summary: Summary) -> Table:
    table = Table(
        "part", "real", "fake", "AUC of clips", "closest trivial measure", "reals called FAKE", "fakes called REAL"
    )
    for part in summary.parts:
        closest = "-" if part.baseline is None else f"{part.baseline.name} {part.baseline.auc.value:.3f}"
        name = f"{part.what} {part.name}" + (f", against {part.against}" if part.against else "")
        counts = str(part.real), str(part.fake)
        shares = figure(part.false_alarm, 2), figure(part.miss, 2)
        table.add_row(name, *counts, figure(part.auc), closest, *shares)
    return table


def _robustness(summary: Summary) -> Table:
    table = Table("degradation", "strength", "AUC of clips", "reals called FAKE", "UNDETERMINED", "failed")
    for point in summary.robustness:
        strength = "as is" if point.value is None else f"{point.value:g} ({point.unit})"
        shares = figure(point.false_alarm, 2), figure(point.abstained, 2)
        table.add_row(f"{point.kind} {point.name}", strength, figure(point.auc), *shares, str(point.failed))
    return table
