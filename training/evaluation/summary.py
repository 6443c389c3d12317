"""From records to figures: of all items, of each detector, of each source and manipulation, of each degradation.

Areas, errors and calibration are of the items that got a score; shares of verdicts are of all that could be analysed,
and an item without a score counts as UNDETERMINED there, as the service answers it. Failed items are only counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.detectors.catalogue import VerdictRow
from training.evaluation.baselines import Baseline, against_trivial
from training.evaluation.degrade import UNITS, variants
from training.evaluation.errors import EvaluationError
from training.evaluation.metrics import (
    Figure,
    Floats,
    Indices,
    accuracy,
    area,
    brier,
    calibration_error,
    equal_error,
    figures,
    mean,
)
from training.evaluation.records import Record

SEED = 20261121
PART_RESAMPLES = 400  # of parts and degradations, of which there are many
VERDICTS = ("false_alarm", "miss", "detected", "abstained_real", "abstained_fake", "abstained")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items there are of what.

    Attributes:
        items, real, fake: in the manifest or split.
        groups: whose items are resampled together.
        analysed: without an error.
        scored_real, scored_fake: with a score.
        frames: with a score of their own.
        failed: by error code.
        unscored: by the reason for which there is no score.
    """

    items: int
    real: int
    fake: int
    groups: int
    analysed: int
    scored_real: int
    scored_fake: int
    frames: int
    failed: dict[str, int] = field(default_factory=dict)
    unscored: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DetectorLine:
    """One detector alone: its clips by its own calibrated score.

    `lead` is the ensemble's area less this one's, of the items that both scored; nothing where no other had a part
    in any of these verdicts, or where it is only reported.
    """

    id: str
    scored: int
    auc: Figure
    ece: float
    status: dict[str, int]
    lead: Figure


@dataclass(frozen=True, slots=True)
class Part:
    """One source or manipulation.

    Attributes:
        what: `source` or `manipulation`.
        name: which.
        against: what it is compared with, of the same kinds of media, where it has only one class itself.
        real, fake, groups: items with a score that the area is of.
        auc: of clips.
        baseline: the trivial measure that comes closest; None where there is no area.
        false_alarm: share of its own reals called FAKE.
        miss: share of its own fakes called REAL.
        detected: share of its own fakes called FAKE.
        abstained: share of its own items UNDETERMINED.
    """

    what: str
    name: str
    against: str
    real: int
    fake: int
    groups: int
    auc: Figure
    baseline: Baseline | None
    false_alarm: Figure
    miss: Figure
    detected: Figure
    abstained: Figure


@dataclass(frozen=True, slots=True)
class Point:
    """The items of one kind at one strength of one degradation; strength 0 is as they are."""

    kind: str
    name: str
    strength: int
    value: float | None
    unit: str
    real: int
    fake: int
    failed: int
    auc: Figure
    false_alarm: Figure
    miss: Figure
    abstained: Figure


@dataclass(frozen=True, slots=True)
class Summary:
    """Every figure of an evaluation. `figures` has those of all items by name; see `overall`."""

    counts: Counts
    bounds: tuple[float, float]
    figures: dict[str, Figure]
    baselines: list[Baseline]
    detectors: list[DetectorLine]
    parts: list[Part]
    robustness: list[Point]


@dataclass(frozen=True, slots=True)
class Columns:
    """Records as parallel arrays `(N,)`; `p_fake` is NaN where there is no score."""

    fake: np.ndarray[tuple[int], np.dtype[np.bool_]]
    p_fake: Floats
    groups: Sequence[str]
    verdict: np.ndarray[tuple[int], np.dtype[np.str_]]


def summarise(records: Sequence[Record], bounds: VerdictRow, say: Callable[[str], None] = lambda _: None) -> Summary:
    """All figures.

    Args:
        records: of items as they are and, perhaps, degraded.
        bounds: of the verdict.
        say: is told what is being computed.

    Raises:
        EvaluationError: not both classes have an item with a score.
    """
    plain = [record for record in records if not record.variant]
    scored = [record for record in plain if record.p_fake is not None]
    counts = counted(plain)
    if not (counts.scored_real and counts.scored_fake):
        raise EvaluationError(
            f"{counts.scored_real} reals and {counts.scored_fake} fakes got a score: there is nothing to compare.",
            f"Not analysed: {_listed(counts.failed)}; no score: {_listed(counts.unscored)}.",
        )
    say("Resampling groups for the intervals")
    found = overall(plain, bounds)
    baselines = against_trivial(scored, _rng())
    say("Resampling groups of each detector, source and manipulation")
    lines, each = [_detector_line(plain, name) for name in _detectors(plain)], parts(plain)
    say("Resampling groups at each strength")
    return Summary(counts, (bounds.real_below, bounds.fake_above), found, baselines, lines, each, robustness(records))


def counted(plain: Sequence[Record]) -> Counts:
    """How many there are of what."""
    scored = [record for record in plain if record.p_fake is not None]
    return Counts(
        items=len(plain),
        real=sum(not record.fake for record in plain),
        fake=sum(record.fake for record in plain),
        groups=len({record.group for record in plain}),
        analysed=sum(not record.error for record in plain),
        scored_real=sum(not record.fake for record in scored),
        scored_fake=sum(record.fake for record in scored),
        frames=sum(record.frames for record in plain),
        failed=dict(Counter(record.error for record in plain if record.error).most_common()),
        unscored=dict(Counter(r.reason for r in plain if not r.error and r.p_fake is None).most_common()),
    )


def overall(plain: Sequence[Record], bounds: VerdictRow) -> dict[str, Figure]:
    """The headline figures with their intervals.

    Of items with a score: `auc`, `eer`, `accuracy` (at 0.5), `accuracy_decided` (of verdicts REAL and FAKE), `brier`,
    `ece`. Of single frames: `frame_auc`. Of all that were analysed: the shares named in `VERDICTS`.
    """
    scored = columns([record for record in plain if record.p_fake is not None])
    values = figures(lambda at: _of_scores(scored, bounds, at), scored.groups, _rng())
    names = ("auc", "eer", "accuracy", "accuracy_decided", "brier", "ece")
    return {**dict(zip(names, values, strict=True)), "frame_auc": frame_area(plain), **shares(plain)}


def columns(records: Sequence[Record]) -> Columns:
    """Records as arrays."""
    return Columns(
        np.array([record.fake for record in records], bool),
        np.array([np.nan if record.p_fake is None else record.p_fake for record in records], np.float64),
        [record.group for record in records],
        np.array([record.verdict for record in records], str),
    )


def frame_area(plain: Sequence[Record]) -> Figure:
    """Area of single frames, each with the label of its clip; resampled by the clips' groups."""
    fake = np.array([record.fake for record in plain for _ in record.frame_p_fake], bool)
    p_fake = np.array([p for record in plain for p in record.frame_p_fake], np.float64)
    groups = [record.group for record in plain for _ in record.frame_p_fake]
    return _only(lambda at: area(fake[at], p_fake[at]), groups)


def shares(records: Sequence[Record], resamples: int = PART_RESAMPLES) -> dict[str, Figure]:
    """The shares of verdicts named in `VERDICTS`, of all records without an error.

    `false_alarm` and `abstained_real` are of reals, `miss` (called REAL), `detected` (called FAKE) and `abstained_fake`
    of fakes.
    """
    table = columns([record for record in records if not record.error])
    if not table.groups:
        return dict.fromkeys(VERDICTS, NOTHING)
    found = figures(lambda at: _of_verdicts(table, at), table.groups, _rng(), resamples)
    return dict(zip(VERDICTS, found, strict=True))


def parts(plain: Sequence[Record]) -> list[Part]:
    """Each source, and each manipulation against all reals, where the manifest names any."""
    sources = sorted({record.source for record in plain if record.source})
    manipulations = sorted({record.manipulation for record in plain if record.fake and record.manipulation})
    found = [_part("source", name, plain, [r for r in plain if r.source == name]) for name in sources]
    return found + [
        _part("manipulation", name, plain, [r for r in plain if r.fake and r.manipulation == name])
        for name in manipulations
    ]


def robustness(records: Sequence[Record]) -> list[Point]:
    """A point per kind of media, degradation and strength; strength 0 is the same items as they are."""
    kinds = sorted({record.kind for record in records if record.variant and record.kind})
    found = []
    for kind in kinds:
        names = {record.name for record in records if record.variant and record.kind == kind}
        plain = [record for record in records if not record.variant and record.name in names]
        for name in dict.fromkeys(how.name for how in variants(kind)):
            found.append(_point(kind, name, 0, None, plain))
            for how in (how for how in variants(kind) if how.name == name):
                worse = [record for record in records if record.variant == str(how) and record.name in names]
                found.append(_point(kind, name, how.strength, how.value, worse))
    return found


NOTHING = Figure(float("nan"), float("nan"), float("nan"))


def _point(kind: str, name: str, strength: int, value: float | None, records: Sequence[Record]) -> Point:
    scored = columns([record for record in records if record.p_fake is not None])
    share = shares(records)
    return Point(
        kind,
        name,
        strength,
        value,
        UNITS[kind, name],
        int((~scored.fake).sum()),
        int(scored.fake.sum()),
        sum(bool(record.error) for record in records),
        _only(lambda at: area(scored.fake[at], scored.p_fake[at]), scored.groups),
        share["false_alarm"],
        share["miss"],
        share["abstained"],
    )


def _part(what: str, name: str, plain: Sequence[Record], own: Sequence[Record]) -> Part:
    labels = {record.fake for record in own}
    missing = next(iter({True, False} - labels), None)
    kinds = {record.kind for record in own}
    others = [record for record in plain if record.fake == missing and record.kind in kinds]
    scored = [record for record in (*own, *others) if record.p_fake is not None]
    table, fakes = columns(scored), sum(record.fake for record in scored)
    comparable = 0 < fakes < len(scored)
    share = shares(own)
    return Part(
        what=what,
        name=name,
        against="" if missing is None else f"all {'fakes' if missing else 'reals'}",
        real=len(scored) - fakes,
        fake=fakes,
        groups=len(set(table.groups)),
        auc=_only(lambda at: area(table.fake[at], table.p_fake[at]), table.groups),
        baseline=against_trivial(scored, _rng(), PART_RESAMPLES)[0] if comparable else None,
        false_alarm=share["false_alarm"],
        miss=share["miss"],
        detected=share["detected"],
        abstained=share["abstained"],
    )


def _detector_line(plain: Sequence[Record], name: str) -> DetectorLine:
    found = [(record, score) for record in plain for score in record.detectors if score.id == name]
    scored = [(record, score.p_fake) for record, score in found if score.p_fake is not None]
    table = columns([record for record, _ in scored])
    alone = np.array([p for _, p in scored], np.float64)
    auc = _only(lambda at: area(table.fake[at], alone[at]), table.groups)
    status = dict(Counter(score.status for _, score in found).most_common())
    has_company = any(name in members and len(members) > 1 for members in map(_members, plain))
    lead = _lead(table, alone) if has_company else NOTHING
    return DetectorLine(name, len(scored), auc, calibration_error(table.fake, alone), status, lead)


def _members(record: Record) -> set[str]:
    """The detectors that had a part in its verdict."""
    return {score.id for score in record.detectors if score.weight and score.p_fake is not None}


def _lead(table: Columns, alone: Floats) -> Figure:
    """The ensemble's area less that of one detector's scores `(N,)`, on the same resamples."""
    return _only(
        lambda at: area(table.fake[at], table.p_fake[at]) - area(table.fake[at], alone[at]),
        table.groups,
    )


def _detectors(plain: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(score.id for record in plain for score in record.detectors))


def _only(statistic: Callable[[Indices], float], groups: Sequence[str]) -> Figure:
    """One figure of a part; nothing of no items."""
    return figures(lambda at: [statistic(at)], groups, _rng(), PART_RESAMPLES)[0] if groups else NOTHING


def _of_scores(table: Columns, bounds: VerdictRow, at: Indices) -> list[float]:
    fake, p_fake = table.fake[at], table.p_fake[at]
    decided = (p_fake < bounds.real_below) | (p_fake > bounds.fake_above)
    return [
        area(fake, p_fake),
        equal_error(fake, p_fake),
        accuracy(fake, p_fake),
        accuracy(fake[decided], p_fake[decided]),
        brier(fake, p_fake),
        calibration_error(fake, p_fake),
    ]


def _of_verdicts(table: Columns, at: Indices) -> list[float]:
    real, fake = (table.verdict[at][table.fake[at] == side] for side in (False, True))
    undetermined = table.verdict[at] == "UNDETERMINED"
    return [
        mean(real == "FAKE"),
        mean(fake == "REAL"),
        mean(fake == "FAKE"),
        mean(real == "UNDETERMINED"),
        mean(fake == "UNDETERMINED"),
        mean(undetermined),
    ]


def _rng() -> np.random.Generator:
    """The same resamples for the same items: figures of one run can be compared with those of the next."""
    return np.random.default_rng(SEED)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
