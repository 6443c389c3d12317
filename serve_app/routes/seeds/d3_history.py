"""The D3 service's questions to its database, `/api/db/...`: the caller's own pictures, as far as they were decided."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel

from serve_app.asking import READ, caller_of
from serve_app.auth import requires
from serve_app.errors import ApiError, timestamp
from serve_app.history import Filters, History
from serve_app.routes.seeds.contract import errors_as
from serve_app.routes.seeds.d3 import ErrorBody, base_name, linked
from serve_app.tables import AnalysisRow

LABELS = ("FAKE", "REAL")
MOST = 100
router = APIRouter(prefix="/api/db", tags=["older services: D3"], dependencies=[requires(READ)])

Limit = Annotated[int, Query(description=f"how many, up to {MOST}")]
LabelName = Annotated[str, Path(description="FAKE or REAL")]


class Row(BaseModel):
    """One picture. `id` counts up over all analyses."""

    id: int
    original_filename: str
    result_filename: str | None
    minio_url: str | None
    label: Literal["FAKE", "REAL"]
    confidence: float
    created_at: str


class Rows(BaseModel):
    """Pictures, newest first."""

    success: Literal[True] = True
    count: int
    predictions: list[Row]


class StatisticsBody(BaseModel):
    """Counts of pictures; percentages are of those that were decided."""

    total_predictions: int
    fake_count: int
    real_count: int
    fake_percentage: float
    real_percentage: float
    average_confidence: float
    last_prediction: str | None


@router.get("/predictions/recent", responses=errors_as(ErrorBody))
async def recent(request: Request, limit: Limit = 10) -> Rows:
    """The newest pictures."""
    found = [row for label in LABELS for row in await _newest(request, label, limit)]
    return await _rows(request, sorted(found, key=lambda row: -row.number)[: _within(limit)])


@router.get("/predictions/by-label/{label}", responses=errors_as(ErrorBody))
async def by_label(
    request: Request, label: Annotated[str, Path(description="FAKE or REAL")], limit: Limit = 10
) -> Rows:
    """The newest pictures of one label."""
    if label.upper() not in LABELS:
        raise ApiError(400, "invalid_request", f"The label is {label[:20]!r}; there are: FAKE, REAL.")
    return await _rows(request, await _newest(request, label.upper(), limit))


@router.get("/predictions/{number}", responses=errors_as(ErrorBody))
async def by_number(request: Request, number: Annotated[int, Path(description="a row's id")]) -> Row:
    """One picture."""
    found = await _history(request).by_number(caller_of(request).owner, number)
    if found.kind != "image" or found.verdict not in LABELS:
        raise ApiError(404, "not_found", f"There is no prediction {number}.")
    return await _row(request, found)


@router.get("/statistics", responses=errors_as(ErrorBody))
async def statistics(request: Request) -> StatisticsBody:
    """Counts over all pictures of the caller."""
    found = await _history(request).statistics(caller_of(request).owner, Filters(kind="image"))
    fake, real = (found.verdicts[label] for label in LABELS)
    total = fake + real
    return StatisticsBody(
        total_predictions=total,
        fake_count=fake,
        real_count=real,
        fake_percentage=100 * fake / total if total else 0.0,
        real_percentage=100 * real / total if total else 0.0,
        average_confidence=found.average_confidence or 0.0,
        last_prediction=timestamp(found.last) if found.last else None,
    )


async def _newest(request: Request, label: str, limit: int) -> list[AnalysisRow]:
    page = await _history(request).page(caller_of(request).owner, Filters(verdict=label, kind="image"), _within(limit))
    return page.rows


async def _rows(request: Request, rows: list[AnalysisRow]) -> Rows:
    return Rows(count=len(rows), predictions=[await _row(request, row) for row in rows])


async def _row(request: Request, row: AnalysisRow) -> Row:
    name = row.artifacts.get("visual")
    return Row(
        id=row.number,
        original_filename=row.filename,
        result_filename=base_name(name) if name else None,
        minio_url=await linked(request, name) if name else None,
        label="FAKE" if row.verdict == "FAKE" else "REAL",
        confidence=row.confidence,
        created_at=timestamp(row.created_at),
    )


def _within(limit: int) -> int:
    return max(1, min(limit, MOST))


def _history(request: Request) -> History:
    history: History = request.app.state.history
    return history
