"""`GET /v1/analyses/{id}/report`: an analysis as a page for people, to be printed or kept."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from serve_app.asking import READ, caller_of
from serve_app.auth import requires
from serve_app.errors import timestamp
from serve_app.history import History
from serve_app.report import About, page, policy
from serve_app.routes.problems import problems

router = APIRouter(prefix="/v1/analyses", tags=["history"], dependencies=[requires(READ)])
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "private, no-store"}


@router.get(
    "/{analysis_id}/report",
    response_class=HTMLResponse,
    responses=problems(
        (401, "the key is missing or wrong"),
        (403, "the key may not read"),
        (404, "there is no such analysis, or it is another owner's"),
        (503, "the database or the artefact store does not answer"),
    ),
)
async def report(request: Request, analysis_id: str) -> HTMLResponse:
    """The report as one HTML page that needs nothing else: no script, nothing fetched; a browser prints it as PDF."""
    history: History = request.app.state.history
    row = await history.get(caller_of(request).owner, analysis_id)
    about = About(row.id, row.filename, timestamp(row.created_at), row.reused_from)
    html = page(await history.verdict(row), about, request.app.state.catalogue)
    return HTMLResponse(html, headers=HEADERS | {"Content-Security-Policy": policy()})
