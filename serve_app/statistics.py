"""Figures over an owner's analyses."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select

from serve_app.tables import AnalysisRow

DECIDED = ("FAKE", "REAL")
Counts = dict[str, "Counter[str]"]  # by verdict, for each model, kind or day


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures over an owner's analyses.

    Attributes:
        total: analyses.
        reused: how many of them repeated an earlier one.
        verdicts: how many were FAKE, REAL and UNDETERMINED.
        average_confidence: of those with a verdict of FAKE or REAL; None without any.
        last: when the newest was made; None without any.
        models, kinds, days: counts by verdict for each model that was asked, kind of media, and day (UTC).
    """

    total: int = 0
    reused: int = 0
    verdicts: "Counter[str]" = field(default_factory=Counter)
    average_confidence: float | None = None
    last: datetime | None = None
    models: Counts = field(default_factory=dict)
    kinds: Counts = field(default_factory=dict)
    days: Counts = field(default_factory=dict)


def question(conditions: Iterable[ColumnElement[bool]], *, embedded: bool) -> Select[Any]:
    """What the database is asked: one row per verdict, model, kind and day."""
    # SQLite keeps moments in UTC; PostgreSQL would take the day of its own time zone.
    moment = AnalysisRow.created_at if embedded else func.timezone("UTC", AnalysisRow.created_at)
    day = func.date(moment).label("day")
    groups = (AnalysisRow.verdict, AnalysisRow.model, AnalysisRow.kind, day)
    figures = (
        func.count().label("amount"),
        func.count(AnalysisRow.reused_from).label("reused"),
        func.sum(AnalysisRow.confidence).label("confidence"),
        func.max(AnalysisRow.created_at, type_=AnalysisRow.created_at.type).label("last"),
    )
    return select(*groups, *figures).where(*conditions).group_by(*groups)


def summed(rows: Sequence[Row[Any]]) -> Statistics:
    """The figures from the database's answer."""
    verdicts: Counter[str] = Counter()
    for row in rows:
        verdicts[row.verdict] += row.amount
    decided = sum(verdicts[verdict] for verdict in DECIDED)
    confidence = sum(row.confidence for row in rows if row.verdict in DECIDED)
    return Statistics(
        total=verdicts.total(),
        reused=sum(row.reused for row in rows),
        verdicts=verdicts,
        average_confidence=confidence / decided if decided else None,
        last=max((row.last for row in rows), default=None),
        models=_counts(rows, "model"),
        kinds=_counts(rows, "kind"),
        days=_counts(rows, "day"),
    )


def _counts(rows: Sequence[Row[Any]], column: str) -> Counts:
    counts: Counts = {}
    for row in rows:
        counts.setdefault(str(getattr(row, column)), Counter())[row.verdict] += row.amount
    return dict(sorted(counts.items()))
