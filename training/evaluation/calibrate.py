"""Calibration and fusion weights from records: fitted, measured before and after, written into the catalogue."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table

from models.detectors.catalogue import CascadeRow, Catalogue, ModelRow
from training.evaluation.cascade import Goal, chosen, clips_of, measured, order, points, seconds_of, table
from training.evaluation.catalogue_text import Change, write
from training.evaluation.errors import EvaluationError
from training.evaluation.fit import Platt, fit_platt, fit_weights, folds, fused, sigmoid
from training.evaluation.metrics import SMALLEST, Bools, Figure, Floats, area, calibration_error, figures
from training.evaluation.records import Record
from training.evaluation.summary import NOTHING
from training.evaluation.words import figure

SEED = 20261121
FEWEST = 5  # items of each class with a score, below which a detector is left as it is
FOLDS = 5  # "after" is measured on groups that the fit did not see
LEAST_WEIGHT = 0.01  # the catalogue wants weights above 0: a detector that is alone with a subject must answer


@dataclass(frozen=True, slots=True)
class Data:
    """What is fitted to.

    Attributes:
        rows: `D` detectors.
        fake: `(N,)`.
        logits: `(N, D)` raw, of the most fake subject; NaN where there is no score.
        groups: `(N,)`.
    """

    rows: Sequence[ModelRow]
    fake: Bools
    logits: Floats
    groups: NDArray[np.str_]

    def only(self, chosen: Bools) -> "Data":
        """These items."""
        return Data(self.rows, self.fake[chosen], self.logits[chosen], self.groups[chosen])


@dataclass(frozen=True, slots=True)
class Fit:
    """A calibration and a weight per detector, in the order of `Data.rows`."""

    platts: Sequence[Platt]
    weights: Floats

    def calibrated(self, data: Data) -> Floats:
        """`(N, D)` calibrated logits."""
        return np.stack([p.calibrated(data.logits[:, d]) for d, p in enumerate(self.platts)], axis=1)

    def ensemble(self, data: Data) -> Floats:
        """`(N,)` fused logits: faces, frames and sound are fused apart, and the most fake of them counts."""
        calibrated, families = self.calibrated(data), _families(data.rows)
        each = np.stack([fused(calibrated[:, of], self.weights[of]) for of in families])
        return np.asarray(np.fmax.reduce(each), np.float64)


@dataclass(frozen=True, slots=True)
class Line:
    """One detector, or the ensemble, before and after: areas of clips and calibration errors, of `count` items.

    `lead` is the ensemble's area after less this one's, on the same resamples; nothing of the ensemble itself.
    """

    name: str
    count: int
    auc_before: Figure
    auc_after: Figure
    ece_before: float
    ece_after: float
    lead: Figure = NOTHING


def calibrate(records: Sequence[Record], catalogue: Catalogue, how: "Target", console: Console) -> None:
    """Fit, print, and write if asked to.

    Raises:
        EvaluationError: no detector has enough scores, or the catalogue cannot be changed safely.
    """
    data = data_of(records, catalogue.rows)
    found = fit(data)
    changed = [
        replace(change, cost=seconds_of(records, row))
        for change, row in zip(changes(data, found, how), data.rows, strict=True)
    ]
    _print(data, found, lines(data, found), console)
    cascade = _cascade(records, catalogue, changed, how, console) if how.goal else None
    if how.path is None:
        console.print("Nothing was written; --write puts this into the catalogue.", highlight=False)
        return
    write(how.path, changed, cascade)
    console.print(f"written: {how.path}", highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to write (`path` None: nowhere), what the data is called there, and what a cascade is to reach."""

    path: Path | None
    name: str
    split: str
    goal: Goal | None = None

    @property
    def data(self) -> str:
        """What the data is called."""
        return f"{self.name}, {self.split or 'all items'}"


def _cascade(
    records: Sequence[Record], catalogue: Catalogue, changed: Sequence[Change], how: "Target", console: Console
) -> CascadeRow:
    """Bounds for the detectors as they will be calibrated, weighed and priced; printed beside the other choices."""
    assert how.goal is not None, "nobody asked for a cascade"
    by_id = {change.id: change for change in changed}
    rows = [by_id[row.id].applied(row) if row.id in by_id else row for row in catalogue.rows]
    clips = clips_of(records, rows, catalogue.verdict)
    best = chosen(points(clips), how.goal)
    for line in order(rows):
        console.print(f"- {line}", markup=False, highlight=False)
    console.print(table(clips))
    bounds = best.bounds.model_copy(update={"measured": measured(clips, best, how.data)})
    console.print(f"- bounds {bounds.real_below:g} and {bounds.fake_above:g}: {bounds.measured}", markup=False)
    return bounds


def data_of(records: Sequence[Record], rows: Sequence[ModelRow]) -> Data:
    """The logits of every detector that has enough of them.

    Raises:
        EvaluationError: none has.
    """
    records = [record for record in records if not record.error and not record.variant]
    fake = np.array([record.fake for record in records], bool)
    logits = np.array([[_logit(record, row.id) for row in rows] for record in records], np.float64)
    logits = logits.reshape(len(records), len(rows))
    enough = [_enough(fake, logits[:, d]) for d in range(len(rows))]
    if not any(enough):
        raise EvaluationError(f"No detector has scores of {FEWEST} reals and {FEWEST} fakes: nothing can be fitted.")
    kept = [row for row, is_enough in zip(rows, enough, strict=True) if is_enough]
    return Data(kept, fake, logits[:, enough], np.array([record.group for record in records], str))


def fit(data: Data) -> Fit:
    """Platt scaling of each detector, then the weights of each family on what comes out."""
    platts = []
    for d in range(len(data.rows)):
        known = ~np.isnan(data.logits[:, d])
        platts.append(fit_platt(data.fake[known], data.logits[known, d]))
    found = Fit(platts, np.array([1.0 if row.fused else row.weight for row in data.rows]))
    calibrated = found.calibrated(data)
    for family in _families(data.rows):
        useful = [d for d in family if platts[d].informative]
        own = calibrated[:, useful]
        known = np.asarray((~np.isnan(own)).any(axis=1), np.bool_)
        if useful:
            found.weights[family] = 0  # one that knows nothing says 0.5 and would dilute the others
            found.weights[useful] = fit_weights(data.fake[known], own[known])
    return Fit(platts, np.maximum(found.weights, LEAST_WEIGHT))


def as_served(data: Data) -> Fit:
    """What the catalogue has now."""
    platts = [Platt(row.calibration.scale, row.calibration.bias) for row in data.rows]
    return Fit(platts, np.array([row.weight for row in data.rows]))


def lines(data: Data, found: Fit) -> list[Line]:
    """Every detector and the ensemble, before and after. After is of items that the fit did not see, fold by fold."""
    before, unseen = as_served(data), _out_of_fold(data, found)
    alone = zip(data.rows, before.calibrated(data).T, unseen(Fit.calibrated).T, strict=True)
    rivals = {data.rows[d].id for family in _families(data.rows) if len(family) > 1 for d in family}
    if not rivals:  # each is the only one of its kind: there is nothing to fuse
        return [_line(row.id, data, *logits) for row, *logits in alone]
    together = unseen(Fit.ensemble)
    compared = [
        replace(_line(row.id, data, own, after), lead=_lead(data, together, after) if row.id in rivals else NOTHING)
        for row, own, after in alone
    ]
    return [*compared, _line("ensemble", data, before.ensemble(data), together)]


def changes(data: Data, found: Fit, how: Target) -> list[Change]:
    """What the catalogue's rows are to say."""
    today = datetime.now(UTC).date().isoformat()
    start = f"{how.data} ("
    done = []
    for d, (row, platt, weight) in enumerate(zip(data.rows, found.platts, found.weights, strict=True)):
        known = data.only(~np.isnan(data.logits[:, d]))
        auc = _auc(known.fake, platt.calibrated(known.logits[:, d]), known.groups)
        fakes = int(known.fake.sum())
        counts = f"{len(known.fake) - fakes} real, {fakes} fake, {len(set(known.groups))} groups"
        line = f"{start}{today}): AUC of clips {figure(auc)}, {counts}; calibration and weight are fitted to these"
        done.append(Change(row.id, _short(platt.scale), _short(platt.bias), _short(weight), line, start))
    return done


def _line(name: str, data: Data, before: Floats, after: Floats) -> Line:
    known = ~np.isnan(before)
    fake, groups = data.fake[known], data.groups[known]
    return Line(
        name,
        int(known.sum()),
        _auc(fake, before[known], groups),
        _auc(fake, after[known], groups),
        calibration_error(fake, sigmoid(before[known])),
        calibration_error(fake, sigmoid(after[known])),
    )


def _lead(data: Data, together: Floats, alone: Floats) -> Figure:
    """By how much the ensemble's area exceeds that of one detector, on what that one scored."""
    known = ~np.isnan(alone)
    fake, ours, theirs = data.fake[known], together[known], alone[known]
    rng = np.random.default_rng(SEED)
    groups = data.groups[known].tolist()
    return figures(lambda at: [area(fake[at], ours[at]) - area(fake[at], theirs[at])], groups, rng)[0]


def _out_of_fold(data: Data, whole: Fit) -> Callable[[Callable[[Fit, Data], Floats]], Floats]:
    """A function that applies something to each fold with the fit of the others.

    Where groups are so few that a fold leaves a detector too little to fit, the fit of all items is used: its figures
    are then of what it was fitted to.
    """
    fold = folds(data.groups, FOLDS, np.random.default_rng(SEED))
    fits = []
    for number in range(FOLDS):
        rest = data.only(fold != number)
        enough = all(_enough(rest.fake, rest.logits[:, d]) for d in range(len(data.rows)))
        fits.append(fit(rest) if enough else whole)

    def apply(what: Callable[[Fit, Data], Floats]) -> Floats:
        values = what(whole, data)
        for number, of_rest in enumerate(fits):
            values[fold == number] = what(of_rest, data.only(fold == number))
        return values

    return apply


def _print(data: Data, found: Fit, compared: Sequence[Line], console: Console) -> None:
    fitted = (Column(name, no_wrap=True) for name in ("scale", "bias", "weight", "items"))
    compares = ("AUC before", "AUC after", "ECE before", "ECE after")
    table = Table(Column("detector", overflow="fold"), *fitted, *compares)
    for d, line in enumerate(compared):
        own = d < len(data.rows)
        values = (found.platts[d].scale, found.platts[d].bias, found.weights[d]) if own else ()
        shown = [f"{_short(value):g}" for value in values] or ["", "", ""]
        aucs = figure(line.auc_before), figure(line.auc_after)
        table.add_row(line.name, *shown, str(line.count), *aucs, f"{line.ece_before:.3f}", f"{line.ece_after:.3f}")
    console.print(table)
    for note in notes(data, found, compared):
        console.print(f"- {note}", markup=False, highlight=False)


def notes(data: Data, found: Fit, compared: Sequence[Line]) -> list[str]:
    """What must be read with the figures."""
    said = [
        "Fitted at even odds: reals together weigh as much as fakes. Where fakes are rarer, so are true alarms.",
        f"After: measured on groups that the fit had not seen, {FOLDS} folds; intervals of 95 % over groups.",
    ]
    useless = [row.id for row, platt in zip(data.rows, found.platts, strict=True) if not platt.informative]
    if useless:
        said.append(f"No better than chance, or the wrong way round, on these items: {', '.join(useless)}.")
    groups = len(set(data.groups.tolist()))
    if groups < SMALLEST:
        said.append(f"There are only {groups} groups: the intervals are wide, and the fit may be of these few alone.")
    if compared[-1].name == "ensemble":
        best = min((line for line in compared[:-1] if line.lead is not NOTHING), key=lambda line: line.lead.value)
        how = "WORSE than" if round(best.lead.value, 3) < 0 else "not worse than"  # as it is printed
        said.append(f"The ensemble is {how} its best member, {best.name}: a difference in AUC of {figure(best.lead)}.")
    return said


def _auc(fake: Bools, score: Floats, groups: NDArray[np.str_]) -> Figure:
    return figures(lambda at: [area(fake[at], score[at])], groups.tolist(), np.random.default_rng(SEED))[0]


def _families(rows: Sequence[ModelRow]) -> list[list[int]]:
    """Detectors that the router fuses with each other: of faces, of whole frames, of sound."""
    regions = dict.fromkeys(row.view.region for row in rows if row.fused)
    return [[d for d, row in enumerate(rows) if row.fused and row.view.region == region] for region in regions]


def _enough(fake: Bools, logits: Floats) -> bool:
    known = fake[~np.isnan(logits)]
    return min(int(known.sum()), int((~known).sum())) >= FEWEST


def _logit(record: Record, name: str) -> float:
    found = next((score.logit for score in record.detectors if score.id == name), None)
    return float("nan") if found is None else found


def _short(value: float) -> float:
    """Four digits: no fit to so few items knows more."""
    return float(f"{value:.4g}")
