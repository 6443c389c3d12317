"""`POST /analyze/batch`: many files in, of any kind, and of each its verdict or what was wrong with it."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request

from models.detectors.catalogue import Catalogue
from models.errors import UnmaskError
from models.media.limits import ACCEPTED_MEDIA
from serve_app.asking import Ask, Origin, caller_of, wants_fresh
from serve_app.database import DatabaseUnavailable
from serve_app.errors import ApiError, from_cause, problem_body, request_id
from serve_app.ids import new_id
from serve_app.routes.analyze import KEYS, PROBLEMS, Explain, ModelName, asked, body_of, known, too_slow
from serve_app.schemas import AnalyzeBody, BatchBody, BatchResult, ProblemBody
from serve_app.settings import Settings
from serve_app.uploads import FILE_FIELDS, Intake, Upload, Uploads, receive_all, too_large

LOGGER = logging.getLogger("ray.serve")
FIELDS = ("files", *FILE_FIELDS, "images", "image", "audio")
# Files of one batch that are analysed at the same time: enough to share forward passes, few enough that a batch of
# fifty does not fill the queues of the graph, where others wait too.
AT_ONCE = 4
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": f"videos, pictures and recordings in any mixture. {ACCEPTED_MEDIA}",
                        },
                        "model": {"type": "string", "description": "as the query parameter"},
                        "explain": {"type": "boolean", "description": "as the query parameter"},
                    },
                }
            }
        },
    }
}

router = APIRouter(prefix="/analyze/batch", tags=["analyze"], dependencies=KEYS)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What all files of a batch have in common."""

    request: Request
    ask: Ask
    origin: Origin
    slots: asyncio.Semaphore
    deadline_s: float


@router.post("", openapi_extra=FORM, responses=PROBLEMS)
async def batch(request: Request, model: ModelName = "", explain: Explain = False) -> BatchBody:
    """Many files of any kind; one that cannot be analysed fails alone, with the problem it would have had alone."""
    settings: Settings = request.app.state.settings
    catalogue: Catalogue = request.app.state.catalogue
    if model:
        known(catalogue, model)  # before the body is read: a misspelt name should not cost an upload
    try:
        async with request.app.state.admission.turn():
            with await receive_all(request, intake(settings)) as uploads:
                ask = _ask(request, uploads, model, explain=explain)
                return await _analyzed(request, uploads.files, ask, settings.request_timeout_s)
    except UnmaskError as error:
        raise from_cause(error, catalogue.ids) from error


def intake(settings: Settings) -> Intake:
    """What a batch takes."""
    return Intake(
        settings.max_upload_bytes,
        settings.upload_timeout_s,
        FIELDS,
        settings.max_batch_files,
        settings.max_batch_bytes,
    )


def _ask(request: Request, uploads: Uploads, model: str, *, explain: bool) -> Ask:
    model = model or uploads.fields.get("model") or uploads.fields.get("model_name") or ""
    model = model or request.app.state.settings.default_model
    known(request.app.state.catalogue, model)
    explain = explain or asked(uploads.files[0], "explain")
    return Ask(model, explain=explain, fresh=wants_fresh(request))


async def _analyzed(request: Request, uploads: Sequence[Upload], ask: Ask, timeout_s: float) -> BatchBody:
    batch_id, caller = new_id("bat"), caller_of(request)
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    origin = Origin(caller, request.scope["path"], batch_id)
    shared = _Batch(request, ask, origin, asyncio.Semaphore(AT_ONCE), deadline_s)
    async with asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(_result(shared, index, upload)) for index, upload in enumerate(uploads)]
    results = [task.result() for task in working]
    successful = sum(result.analysis is not None for result in results)
    failed = len(results) - successful
    recorded = await _recorded(request, batch_id, successful, failed)
    return BatchBody(
        id=batch_id if recorded else "", total=len(results), successful=successful, failed=failed, results=results
    )


async def _result(batch: _Batch, index: int, upload: Upload) -> BatchResult:
    """What came of one file. Its failure is its own."""
    try:
        analysis = await _analysis(batch, upload)
    except Exception as error:  # noqa: BLE001 - the others' answers must not be lost
        problem = _problem(batch.request, error)
        return BatchResult(
            index=index, filename=upload.filename, status=problem.status, id=None, analysis=None, problem=problem
        )
    return BatchResult(
        index=index, filename=upload.filename, status=200, id=analysis.id, analysis=analysis, problem=None
    )


async def _analysis(batch: _Batch, upload: Upload) -> AnalyzeBody:
    settings: Settings = batch.request.app.state.settings
    if upload.over_limit:
        raise too_large(settings.max_upload_bytes)
    try:
        async with asyncio.timeout_at(batch.deadline_s), batch.slots:
            started = time.monotonic()
            analysis = await batch.request.app.state.analyst.analyze(upload, batch.ask, batch.origin)
    except TimeoutError:
        raise too_slow(settings.request_timeout_s) from None
    return body_of(batch.request, upload, analysis, time.monotonic() - started)


def _problem(request: Request, error: Exception) -> ProblemBody:
    """What the file would have been answered with, had it come alone."""
    if isinstance(error, UnmaskError):
        error = from_cause(error, request.app.state.catalogue.ids)
    if not isinstance(error, ApiError):
        LOGGER.error("unexpected error in a batch, request %s", request_id(request.scope), exc_info=error)
        error = ApiError(500, "internal_error", "The service failed on this file.", suggestions=["Send it again"])
    return ProblemBody.model_validate(problem_body(error, request.scope["path"], request_id(request.scope)))


async def _recorded(request: Request, batch_id: str, successful: int, failed: int) -> bool:
    """Record the batch; without it the verdicts are still worth answering."""
    owner = caller_of(request).owner
    try:
        await request.app.state.history.record_batch(owner, batch_id, successful=successful, failed=failed)
    except DatabaseUnavailable:
        LOGGER.exception("the batch of request %s is not recorded", request_id(request.scope))
        return False
    return True
