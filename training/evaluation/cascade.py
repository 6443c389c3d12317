"""What a cascade's bounds cost and keep, from recorded scores: found by trying them, nothing is analysed again.

Compute is that of the detectors alone, in the seconds the catalogue gives each: decoding and finding faces, which come
before them and are the larger part on a CPU, a cascade does not save.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from models.course import lanes
from models.detectors.catalogue import CascadeRow, ModelRow, VerdictRow
from models.outcomes import Voice
from training.evaluation.errors import EvaluationError
from training.evaluation.metrics import Figure, figures, mean
from training.evaluation.records import Record
from training.evaluation.replay import asked, judged_clip, voices_of
from training.evaluation.words import figure

SEED = 20261121
# Tried on either side of even odds, as distances from certainty; 0 asks everybody.
MARGINS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


@dataclass(frozen=True, slots=True)
class Goal:
    """What bounds are chosen by: the least agreement of verdicts, or the largest share of compute; one of the two."""

    agreement: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One pair of bounds: the share of the full ensemble's compute it takes, and of its verdicts it keeps."""

    bounds: CascadeRow
    cost: float
    agreement: float

    @property
    def saved(self) -> float:
        """Share of the ensemble's compute."""
        return 1 - self.cost


@dataclass(frozen=True, slots=True)
class Clips:
    """Clips as a cascade sees them.

    Attributes:
        heard: of each clip, what every fused detector that applies says.
        groups: of each clip.
        bounds: of the verdict.
    """

    heard: Sequence[Sequence[Voice]]
    groups: Sequence[str]
    bounds: VerdictRow

    def kept(self, bounds: CascadeRow) -> list[bool]:
        """Of each clip, whether the cascade gives the ensemble's verdict."""
        verdicts = ((judged_clip(asked(v, bounds), self.bounds)[1], judged_clip(v, self.bounds)[1]) for v in self.heard)
        return [ours == full for ours, full in verdicts]


def clips_of(records: Sequence[Record], rows: Sequence[ModelRow], bounds: VerdictRow) -> Clips:
    """The clips that a fused detector scored, as they are, without any degradation.

    Raises:
        EvaluationError: no two of the rows are fused with each other: there is nothing to save.
    """
    fused_rows = [row for row in rows if row.fused]
    if all(len(lane) < 2 for lane in lanes(fused_rows)):  # noqa: PLR2004 - one alone is no cascade
        raise EvaluationError(
            "A cascade needs two fused detectors of one kind, and there is none.",
            "Name those to serve in UNMASK_MODELS.",
        )
    plain = [record for record in records if not record.error and not record.variant]
    found = [(voices_of(record, fused_rows), record.group) for record in plain]
    heard = [(voices, group) for voices, group in found if voices]
    return Clips([voices for voices, _ in heard], [group for _, group in heard], bounds)


def priced(records: Sequence[Record], rows: Sequence[ModelRow]) -> list[ModelRow]:
    """The rows with the seconds that their detectors took in these records, in the median; if they say."""
    return [row.model_copy(update={"cost": seconds_of(records, row) or row.cost}) for row in rows]


def seconds_of(records: Sequence[Record], row: ModelRow) -> float | None:
    """A detector's median seconds per clip, three digits; None if no record has them."""
    took = [s.seconds for record in records for s in record.detectors if s.id == row.id and s.seconds > 0]
    return float(f"{median(took):.3g}") if took else None


def points(clips: Clips) -> list[Point]:
    """Every pair of bounds that reaches beyond the verdict's own."""
    verdict = clips.bounds
    lows = sorted({margin for margin in MARGINS if margin < verdict.real_below} | {verdict.real_below})
    highs = sorted({1 - margin for margin in MARGINS if 1 - margin > verdict.fake_above} | {verdict.fake_above})
    return [_point(clips, low, high) for low, high in product(lows, highs)]


def _point(clips: Clips, low: float, high: float) -> Point:
    bounds = CascadeRow(real_below=round(low, 4), fake_above=round(high, 4))
    taken = sum(voice.row.cost for heard in clips.heard for voice in asked(heard, bounds))
    full = sum(voice.row.cost for heard in clips.heard for voice in heard)
    return Point(bounds, taken / full if full else 1.0, mean(np.array(clips.kept(bounds))))


def frontier(found: Sequence[Point]) -> list[Point]:
    """Those that no other beats in both, from the one that asks everybody to the one that saves most."""
    best: list[Point] = []
    for point in sorted(found, key=lambda point: (-point.agreement, point.cost, point.bounds.real_below)):
        if not best or point.cost < best[-1].cost:
            best.append(point)
    return best


def chosen(found: Sequence[Point], goal: Goal) -> Point:
    """The cheapest of enough agreement, or the one that agrees most of those that are cheap enough.

    Raises:
        EvaluationError: none is cheap enough.
    """
    best = frontier(found)
    if goal.cost is not None:
        cheap = [point for point in best if point.cost <= goal.cost]
        if not cheap:
            least = min(point.cost for point in best)
            raise EvaluationError(f"No bounds take {goal.cost:.0%} of the compute or less; the least is {least:.0%}.")
        return cheap[0]
    return [point for point in best if point.agreement >= (goal.agreement or 0.0)][-1]


def agreement(clips: Clips, point: Point) -> Figure:
    """The share of the ensemble's verdicts that are kept, with its interval over groups."""
    kept = np.array(clips.kept(point.bounds))
    return figures(lambda at: [mean(kept[at])], list(clips.groups), np.random.default_rng(SEED))[0]


def measured(clips: Clips, point: Point, data: str) -> str:
    """The line that the catalogue keeps of the choice."""
    today = datetime.now(UTC).date().isoformat()
    kept = figure(agreement(clips, point))
    counts = f"{len(clips.heard)} clips, {len(set(clips.groups))} groups"
    return (
        f"{data} ({today}): {point.saved:.0%} of the detectors' compute saved, {kept} of the ensemble's verdicts kept, "
        f"{counts}; chosen on these"
    )


def table(clips: Clips) -> Table:
    """The bounds that no others beat."""
    title = f"cascade: {len(clips.heard)} clips, {len(set(clips.groups))} groups; compute of the detectors alone"
    shown = Table("stops below", "stops above", "compute saved", "verdicts kept", title=title, title_justify="left")
    for point in frontier(points(clips)):
        bounds = f"{point.bounds.real_below:g}", f"{point.bounds.fake_above:g}"
        shown.add_row(*bounds, f"{point.saved:.1%}", figure(agreement(clips, point)))
    return shown


def show(records: Sequence[Record], rows: Sequence[ModelRow], bounds: VerdictRow, console: Console) -> None:
    """Print the order and the table; raises as `clips_of`."""
    rows = priced(records, rows)
    clips = clips_of(records, rows, bounds)
    for line in order(rows):
        console.print(f"- {line}", markup=False, highlight=False)
    console.print(table(clips))


def order(rows: Sequence[ModelRow]) -> Iterator[str]:
    """In which order detectors are asked, and at what cost."""
    for lane in lanes([row for row in rows if row.fused]):
        steps = ", then ".join(f"{row.id} ({row.cost:g} s)" for row in lane)
        yield f"{lane[0].view.region}: {steps}"
