"""`/v1/analyses` and `/v1/statistics`: what was analysed for the owner of the key, and what came of it."""

from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, Field
from starlette.responses import RedirectResponse, Response, StreamingResponse

from serve_app.asking import ANALYZE, READ, caller_of
from serve_app.auth import requires
from serve_app.errors import ApiError
from serve_app.history import Filters, History, number_of
from serve_app.records import (
    ANALYSES,
    VISUAL,
    analysis_body,
    csv_lines,
    json_lines,
    record_body,
    statistics_body,
)
from serve_app.routes.problems import problems
from serve_app.schemas import AnalysisBody, AnalysisPage, Label, StatisticsBody

LINK_LIFETIME_S = 600  # of the address that annotated media are fetched from: a player asks for parts for a while
LISTED, MOST_LISTED = 50, 200
READING = problems(
    (401, "the key is missing or wrong"),
    (403, "the key may not read"),
    (422, "a parameter does not fit"),
    (429, "the key's limit is reached"),
    (503, "the database or the artefact store does not answer"),
)
OF_ONE = READING | problems((404, "there is no such analysis, or it is another owner's"))

router = APIRouter(tags=["history"])
MAY_READ = [requires(READ)]


def _in_utc(moment: datetime | None) -> datetime | None:
    """A moment without a time zone is one of UTC."""
    try:
        return moment and (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except OverflowError:
        raise ValueError("is beyond the calendar") from None


NoNul = Annotated[str, Field(pattern=r"^[^\x00]*$")]  # PostgreSQL takes none
Moment = Annotated[datetime | None, AfterValidator(_in_utc)]


class Wanted(BaseModel):
    """Which analyses."""

    verdict: Annotated[Label | None, Field(description="of this verdict")] = None
    kind: Annotated[Literal["video", "image", "audio"] | None, Field(description="of this kind of media")] = None
    model: Annotated[NoNul, Field(max_length=2000, description="for which this model was asked")] = ""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$", description="of the file with this hash")] = ""
    filename: Annotated[NoNul, Field(max_length=255, description="whose file name has this part, in any case")] = ""
    since: Annotated[Moment, Field(description="made at or after this moment (RFC 3339; UTC without a zone)")] = None
    until: Annotated[Moment, Field(description="made before this moment")] = None

    def filters(self) -> Filters:
        """The same as the history takes it."""
        asked = {name: getattr(self, name) for name in Filters.__dataclass_fields__}
        return Filters(**asked | {"verdict": self.verdict or "", "kind": self.kind or ""})


class WantedPage(Wanted):
    """Which analyses, and how many of them."""

    limit: Annotated[int, Field(ge=1, le=MOST_LISTED, description="how many at most")] = LISTED
    cursor: Annotated[str, Field(max_length=64, description="`next_cursor` of the page before")] = ""


class WantedExport(Wanted):
    """Which analyses, and as what."""

    format: Annotated[Literal["csv", "jsonl"], Field(description="a table, or a JSON object per line")] = "csv"


@router.get(ANALYSES, dependencies=MAY_READ, responses=READING)
async def page(request: Request, response: Response, wanted: Annotated[WantedPage, Query()]) -> AnalysisPage:
    """The key's owner's analyses, newest first. The `Link` header leads to the next page."""
    try:
        before = number_of(wanted.cursor) if wanted.cursor else None
    except ValueError:
        raise ApiError(
            422, "invalid_request", "query.cursor: it is none of ours.", suggestions=["Send `next_cursor` as it came"]
        ) from None
    found = await _history(request).page(caller_of(request).owner, wanted.filters(), wanted.limit, before)
    if found.next_cursor:
        following = request.url.include_query_params(cursor=found.next_cursor)
        response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return AnalysisPage(items=[record_body(row) for row in found.rows], next_cursor=found.next_cursor or None)


EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the analyses, newest first; those of JSON lines are whole, but without pictures",
        "content": {"text/csv": {"schema": {"type": "string"}}, "application/jsonl": {"schema": {"type": "string"}}},
    },
    **READING,
}


@router.get(f"{ANALYSES}/export", dependencies=MAY_READ, responses=EXPORTED, response_class=StreamingResponse)
async def export(request: Request, wanted: Annotated[WantedExport, Query()]) -> StreamingResponse:
    """Every analysis of the key's owner as a file, streamed."""
    history = _history(request)
    await history.check()  # what fails later only breaks the stream
    rows = history.export(caller_of(request).owner, wanted.filters())
    lines, kind = (csv_lines(rows), "text/csv") if wanted.format == "csv" else (json_lines(rows), "application/jsonl")
    named = {"Content-Disposition": f'attachment; filename="analyses.{wanted.format}"'}
    return StreamingResponse(lines, media_type=kind, headers=named)


@router.get(f"{ANALYSES}/{{analysis_id}}", dependencies=MAY_READ, responses=OF_ONE)
async def one(request: Request, analysis_id: str) -> AnalysisBody:
    """One analysis, as it was answered."""
    history = _history(request)
    row = await history.get(caller_of(request).owner, analysis_id)
    return analysis_body(row, await history.verdict(row))


DRAWN = OF_ONE | {307: {"description": "the annotated media, under an address that expires"}}


@router.get(f"{ANALYSES}/{{analysis_id}}/visual", dependencies=MAY_READ, responses=DRAWN, status_code=307)
async def visual(request: Request, analysis_id: str) -> RedirectResponse:
    """The media with the verdict drawn into it, where a job made it: leads to an address that expires."""
    row = await _history(request).get(caller_of(request).owner, analysis_id)
    name = row.artifacts.get(VISUAL)
    if not name:
        raise ApiError(
            404,
            "no_such_artifact",
            f"There is no annotated media of {row.id}.",
            suggestions=["It is made by a job with `visualize`, and may have expired"],
        )
    stem = PurePosixPath(row.filename.replace("\\", "/")).stem or "media"
    filename = f"{stem}.unmask{PurePosixPath(name).suffix}"
    return RedirectResponse(await request.app.state.artifacts.link(name, filename, LINK_LIFETIME_S), 307)


@router.delete(f"{ANALYSES}/{{analysis_id}}", dependencies=[requires(ANALYZE)], responses=OF_ONE, status_code=204)
async def erase(request: Request, analysis_id: str) -> Response:
    """Erase an analysis with its pictures and its annotated media. What repeated it stays."""
    await _history(request).delete(caller_of(request).owner, analysis_id)
    return Response(status_code=204)


@router.get("/v1/statistics", dependencies=MAY_READ, responses=READING)
async def statistics(request: Request, wanted: Annotated[Wanted, Query()]) -> StatisticsBody:
    """Figures over the key's owner's analyses, of all or of some."""
    return statistics_body(await _history(request).statistics(caller_of(request).owner, wanted.filters()))


def _history(request: Request) -> History:
    history = request.app.state.history
    assert isinstance(history, History)
    return history
