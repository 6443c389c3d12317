"""Who is asked, in which order, and when it is enough. The router and the pipeline follow the same course.

An ensemble, and what is asked for by name, is asked all at once. A cascade asks, of what looks at faces, of what looks
at whole frames and of what listens, the cheapest first, and the next one only while the answer so far lies between the
catalogue's bounds. All views are extracted at once, before anybody is asked: most of extraction is decoding and finding
faces, which another pass would do again; a further crop of a frame that is there costs next to nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.detectors.catalogue import CascadeRow, Catalogue, ModelRow, VerdictRow, decides, mode_of
from models.extraction import Extraction
from models.outcomes import Outcome, fused, judgeable, sigmoid, voices
from models.types import Mode, View

Done = Mapping[str, Outcome]
"""Outcomes by the id of their detector."""


@dataclass(frozen=True, slots=True)
class Course:
    """The course of one request.

    Attributes:
        rows: the detectors that the model's name stands for.
        absent: outcomes of those of them that are not here.
        mode: how they are asked.
        cascade: its bounds.
        verdict: what can be judged at all.
    """

    rows: tuple[ModelRow, ...]
    absent: tuple[Outcome, ...]
    mode: Mode
    cascade: CascadeRow
    verdict: VerdictRow

    @property
    def views(self) -> tuple[View, ...]:
        """What may be needed, each once."""
        missing = {outcome.row.id for outcome in self.absent}
        return tuple(dict.fromkeys(row.view.view() for lane in self._lanes() for row in lane if row.id not in missing))

    def following(self, outcomes: Sequence[Outcome], extraction: Extraction) -> tuple[ModelRow, ...]:
        """Who is to be asked now, at once, after those outcomes; nobody when it is enough."""
        done = self._done(outcomes)
        if self.mode != "cascade":
            return tuple(row for row in self.rows if row.id not in done)
        nexts = (self._walk(lane, done, extraction)[1] for lane in self._lanes())
        return tuple(row for row in nexts if row is not None)

    def closed(self, outcomes: Sequence[Outcome], extraction: Extraction) -> tuple[Outcome, ...]:
        """An outcome for every row, in their order: what was asked, what is not here, and what was not needed."""
        done = self._done(outcomes)
        if self.mode == "cascade":
            walks = [self._walk(lane, done, extraction)[0] for lane in self._lanes()]
            done = {outcome.row.id: outcome for walk in walks for outcome in walk}
        return tuple(done.get(row.id) or self._not_needed(row) for row in self.rows)

    def _done(self, outcomes: Sequence[Outcome]) -> Done:
        return {outcome.row.id: outcome for outcome in (*self.absent, *outcomes)}

    def _lanes(self) -> list[list[ModelRow]]:
        """The rows that may be asked."""
        return lanes([row for row in self.rows if self.mode != "cascade" or decides(row, self.mode)])

    def _walk(
        self, lane: Sequence[ModelRow], done: Done, extraction: Extraction
    ) -> tuple[list[Outcome], ModelRow | None]:
        """Outcomes along a lane until it is enough, and who is next if it is not."""
        asked: list[Outcome] = []
        for row in lane:
            if self._is_enough([judgeable(outcome, extraction, self.verdict) for outcome in asked]):
                break
            if row.id not in done:
                return asked, row
            asked.append(done[row.id])
        return asked, None

    def _is_enough(self, asked: Sequence[Outcome]) -> bool:
        """Whether the most fake subject's fused probability so far lies outside the bounds."""
        logits = [fused(said) for said in voices(asked).values()]
        return bool(logits) and is_sure(sigmoid(max(logits)), self.cascade)

    def _not_needed(self, row: ModelRow) -> Outcome:
        why = "the cheaper detectors were sure without it" if row.fused else "a cascade asks only what decides"
        return Outcome(row, "not_needed", why=why)


def lanes(rows: Sequence[ModelRow]) -> list[list[ModelRow]]:
    """Rows by what they look at or listen to, the cheapest first; of equal cost, in their own order."""
    regions = dict.fromkeys(row.view.region for row in rows)
    return [sorted((r for r in rows if r.view.region == region), key=lambda r: r.cost) for region in regions]


def is_sure(p_fake: float, bounds: CascadeRow) -> bool:
    """Whether a cascade stops at this answer."""
    return not bounds.real_below <= p_fake <= bounds.fake_above


def course_of(catalogue: Catalogue, model: str, absent: Sequence[Outcome] = ()) -> Course:
    """The course of a model's name; raises as `Catalogue.choose`."""
    mode = mode_of(model)
    return Course(catalogue.choose(model), tuple(absent), mode, catalogue.cascade, catalogue.verdict)
