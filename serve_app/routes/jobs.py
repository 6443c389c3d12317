"""`/v1/jobs`: long work. Sent, answered with 202, followed by its events or asked for, cancelled."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from models.errors import UnmaskError
from serve_app.asking import ANALYZE, READ, caller_of
from serve_app.auth import requires
from serve_app.database import DatabaseUnavailable
from serve_app.errors import ApiError
from serve_app.job_errors import UnknownJob
from serve_app.job_intake import JobAsk, JobIntake
from serve_app.jobs import Jobs
from serve_app.routes.analyze import Explain, ModelName
from serve_app.routes.problems import problems
from serve_app.schemas import JobBody, JobPage

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

EVENTS_POLL_S = 0.5
HEARTBEAT_S = 15.0  # proxies close what is silent for longer than half a minute
STREAM_S = 300.0  # then the client comes again with `Last-Event-ID`: Serve's proxy would cut the stream off
RETRY_MS = 1000
LARGEST_NUMBER = 2**63 - 1

Limit = Annotated[int, Query(ge=1, le=100, description="how many at most")]
Cursor = Annotated[str, Query(max_length=40, description="`next_cursor` of the page before")]
State = Annotated[Literal["", "queued", "running", "done", "failed", "cancelled"], Query(description="only these")]
Visualize = Annotated[bool, Query(description="also draw the verdict into the media")]
Heatmap = Annotated[bool, Query(description="with `visualize`: draw where the detector looked, too")]
KEY = ((401, "the key is missing or wrong"), (403, "the key may not do this"), (503, "the database does not answer"))
NONE = (404, "there is no such job, or it is not yours")
MADE: dict[int | str, dict[str, Any]] = {
    202: {"description": "the job is kept, and will be worked on; `Location` is its address"},
    **problems(
        *KEY,
        (400, "the form or the JSON is malformed, or there are too many files"),
        (404, "no such model, or no such upload"),
        (408, "the body took too long"),
        (413, "the body is over the limit"),
        (415, "neither a form, JSON nor media"),
        (422, "what is asked is wrong"),
        (507, "there is no room"),
    ),
}


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema with the models that it is made of written out: it is not among the document's components."""
    schema = model.model_json_schema()
    parts = {f"#/$defs/{name}": part for name, part in schema.pop("$defs", {}).items()}
    for said in schema["properties"].values():
        if "anyOf" in said:
            said["anyOf"] = [parts.get(one.get("$ref"), one) for one in said["anyOf"]]
    return schema


MEDIA = {"type": "string", "format": "binary"}
FORM = {
    "type": "object",
    "properties": {
        "files": {"type": "array", "items": MEDIA, "description": "also video, media or file, each once or more"},
        "model": {"type": "string"},
        "explain": {"type": "boolean"},
        "visualize": {"type": "boolean"},
        "heatmap": {"type": "boolean"},
        "webhook_url": {"type": "string"},
        "webhook_secret": {"type": "string"},
    },
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": FORM},
            "application/json": {"schema": inlined(JobAsk)},
            "application/octet-stream": {"schema": MEDIA},
        },
    }
}
_EVENT = {
    "type": "object",
    "description": "one event; `data` is JSON",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "enum": ["state", "progress", "file", "end"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the events, as they happen",
        "content": {"text/event-stream": {"schema": _EVENT}},
    },
    204: {"description": "the job has ended, and there is nothing after that event"},
    **problems(*KEY, NONE, (422, "`Last-Event-ID` is no number")),
}


@router.post("", status_code=202, openapi_extra=BODY, responses=MADE, dependencies=[requires(ANALYZE)])
async def make(  # noqa: PLR0917 - FastAPI passes them by name
    request: Request,
    response: Response,
    model: ModelName = "",
    explain: Explain = False,
    visualize: Visualize = False,
    heatmap: Heatmap = False,
) -> JobBody:
    """Keep a job: one file or several as a form, one as the body, or media that is elsewhere, as JSON."""
    intake: JobIntake = request.app.state.job_intake
    query = JobAsk(model=model, explain=explain, visualize=visualize, heatmap=heatmap)
    body = await intake.make(request, caller_of(request), query)
    response.headers["Location"] = body["links"]["self"]
    return JobBody.model_validate(body)


@router.get("", responses=problems(*KEY, (422, "a parameter is wrong")), dependencies=[requires(READ)])
async def page(
    request: Request, response: Response, limit: Limit = 20, cursor: Cursor = "", state: State = ""
) -> JobPage:
    """Your jobs, newest first."""
    found, before = await jobs_of(request).page(caller_of(request).owner, number_of(cursor), limit, state)
    if before:
        following = request.url.include_query_params(cursor=str(before))
        response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return JobPage.model_validate({"items": found, "next_cursor": str(before) if before else None})


@router.get("/{job_id}", responses=problems(*KEY, NONE), dependencies=[requires(READ)])
async def one(request: Request, job_id: str) -> JobBody:
    """How far a job is, and what came of each of its files."""
    return JobBody.model_validate(await jobs_of(request).find(caller_of(request).owner, job_id))


@router.delete("/{job_id}", responses=problems(*KEY, NONE), dependencies=[requires(ANALYZE)])
async def cancel(request: Request, job_id: str) -> JobBody:
    """End a job: its work is stopped and its media erased. One that has ended stays as it is."""
    body, media = await jobs_of(request).cancel(caller_of(request).owner, job_id)
    if body["state"] == "cancelled" and media:
        await _erase(request, media)
    return JobBody.model_validate(body)


@router.get("/{job_id}/events", responses=EVENTS, response_class=StreamingResponse, dependencies=[requires(READ)])
async def events(request: Request, job_id: str, last_event_id: Annotated[str, Header(max_length=40)] = "") -> Response:
    """What happens to a job, as server-sent events: `state`, `progress`, `file`, and at last `end`.

    `data` is JSON with `state`, `stage` and `fraction`. `Last-Event-ID` resumes after that event.
    """
    owner, after = caller_of(request).owner, number_of(last_event_id) or 0
    found, ended = await jobs_of(request).events(owner, job_id, after)
    if ended and not found:
        return Response(status_code=204)  # tells a browser's EventSource not to come again
    return StreamingResponse(
        stream(jobs_of(request), owner, job_id, after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def stream(jobs: Jobs, owner: str, job_id: str, after: int) -> AsyncIterator[str]:
    """The text of the events after a number, until the last one."""
    yield f"retry: {RETRY_MS}\n\n"
    until_s = time.monotonic() + STREAM_S
    spoke_s = time.monotonic()
    while time.monotonic() < until_s:
        try:
            found, ended = await jobs.events(owner, job_id, after)
        except DatabaseUnavailable:
            found, ended = [], False
        except UnknownJob:
            return  # erased meanwhile
        for event in found:
            after = event.number
            yield f"id: {event.number}\nevent: {event.event}\ndata: {json.dumps(event.data)}\n\n"
        if ended:
            return
        if found:
            spoke_s = time.monotonic()
        elif time.monotonic() - spoke_s > HEARTBEAT_S:
            spoke_s = time.monotonic()
            yield ": still at work\n\n"
        await asyncio.sleep(EVENTS_POLL_S)


def jobs_of(request: Request) -> Jobs:
    """The jobs of this application."""
    jobs: Jobs = request.app.state.jobs
    return jobs


def number_of(text: str) -> int | None:
    """The number in a cursor or an event's id; None if there is none."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST_NUMBER):
        raise ApiError(422, "invalid_request", f"{text!r} is not of a page or an event.")
    return int(text)


async def _erase(request: Request, media: list[str]) -> None:
    try:
        await request.app.state.artifacts.delete(*media)
        await jobs_of(request).erased(media)
    except UnmaskError:
        return  # a runner does it later
