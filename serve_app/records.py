"""What the routes answer of recorded analyses: one of them, a line of a list, a line of an export, figures."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime

from serve_app.errors import timestamp
from serve_app.schemas import AnalysisBody, AnalysisLinks, CountsBody, RecordBody, StatisticsBody, VerdictBody
from serve_app.statistics import Counts, Statistics
from serve_app.tables import AnalysisRow

ANALYSES = "/v1/analyses"
VISUAL = "visual"  # the annotated media, in a row's `artifacts`
COPIED = ("id", "number", "route", "filename", "reused_from", "batch_id", "job_id")
COLUMNS = tuple(name for name in RecordBody.model_fields if name != "links")


def links(row: AnalysisRow) -> AnalysisLinks:
    """Where else there is something of an analysis."""
    own = f"{ANALYSES}/{row.id}"
    return AnalysisLinks(self=own, report=f"{own}/report", visual=f"{own}/visual" if VISUAL in row.artifacts else None)


def record_body(row: AnalysisRow) -> RecordBody:
    """A row as lists have it."""
    computed = {"created_at", "expires_at", "links"}
    same = {name: getattr(row, name) for name in RecordBody.model_fields if name not in computed}
    return RecordBody(
        **same, created_at=timestamp(row.created_at), expires_at=_moment(row.expires_at), links=links(row)
    )


def analysis_body(row: AnalysisRow, verdict: VerdictBody) -> AnalysisBody:
    """A row with its verdict."""
    return AnalysisBody.model_validate(
        {
            **verdict.model_dump(),
            **{name: getattr(row, name) for name in COPIED},
            "created_at": timestamp(row.created_at),
            "expires_at": _moment(row.expires_at),
            "links": links(row),
        }
    )


def statistics_body(found: Statistics) -> StatisticsBody:
    """Figures, as they are answered."""
    all_of_them = found.total or 1
    return StatisticsBody(
        total=found.total,
        reused=found.reused,
        fake=found.verdicts["FAKE"],
        real=found.verdicts["REAL"],
        undetermined=found.verdicts["UNDETERMINED"],
        fake_percentage=100 * found.verdicts["FAKE"] / all_of_them,
        real_percentage=100 * found.verdicts["REAL"] / all_of_them,
        average_confidence=found.average_confidence,
        last_analysis_at=_moment(found.last),
        models=_counts(found.models),
        kinds=_counts(found.kinds),
        days=_counts(found.days),
    )


async def csv_lines(rows: AsyncIterator[AnalysisRow]) -> AsyncIterator[str]:
    """A table with a head (RFC 4180)."""
    yield _csv_line(COLUMNS)
    async for row in rows:
        body = record_body(row)
        yield _csv_line(tuple(_cell(getattr(body, name)) for name in COLUMNS))


async def json_lines(rows: AsyncIterator[AnalysisRow]) -> AsyncIterator[str]:
    """An `AnalysisBody` per line, without pictures."""
    async for row in rows:
        yield analysis_body(row, VerdictBody.model_validate(row.body)).model_dump_json() + "\n"


def _csv_line(cells: tuple[object, ...]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _cell(value: object) -> object:
    """A cell; text that a spreadsheet would take for a formula is marked as text, since clients chose it."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return f"'{value}"
    return value


def _counts(counts: Counts) -> list[CountsBody]:
    return [
        CountsBody(
            name=name,
            total=by_verdict.total(),
            fake=by_verdict["FAKE"],
            real=by_verdict["REAL"],
            undetermined=by_verdict["UNDETERMINED"],
        )
        for name, by_verdict in counts.items()
    ]


def _moment(moment: datetime | None) -> str | None:
    return timestamp(moment) if moment else None
