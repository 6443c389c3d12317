"""The routes of the D3 service: pictures, one or many, each with a copy into which the verdict is drawn."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, TypeAdapter
from starlette.responses import RedirectResponse

from models.errors import UnmaskError
from models.render.stream import content_type, suffix
from models.types import Verdict
from serve_app.analyst import Analysis
from serve_app.artifacts import Artifacts
from serve_app.asking import Caller, Origin, caller_of, origin_of
from serve_app.database import DatabaseUnavailable
from serve_app.errors import ApiError, from_cause, timestamp
from serve_app.history import History
from serve_app.ids import new_id
from serve_app.routes.analyze import KEYS, too_slow
from serve_app.routes.seeds.contract import (
    Contract,
    analyzed,
    decided,
    errors_as,
    form,
    model_of,
    must_be,
    received,
)
from serve_app.schemas import VerdictBody
from serve_app.settings import Settings
from serve_app.uploads import Upload

LOGGER = logging.getLogger("ray.serve")
TOO_LARGE = "File too large. Maximum file size is {}MB."
ONE = Contract(("image",), 100, TOO_LARGE)
MANY = Contract(("images", "image"), 100, TOO_LARGE, max_files=50)
AT_ONCE = 4  # pictures of one batch: enough to share forward passes
LINK_S = 7 * 24 * 3600.0  # as long as S3 lets an address live
VERDICT = TypeAdapter(Verdict)
router = APIRouter(tags=["older services: D3"], dependencies=KEYS)
documentation = APIRouter(include_in_schema=False)


class Scores(BaseModel):
    """P(real) and P(fake)."""

    real: float
    fake: float


class Prediction(BaseModel):
    """What a picture is found to be."""

    label: Literal["FAKE", "REAL"]
    is_fake: bool
    confidence: float
    scores: Scores


class ImageInfo(BaseModel):
    """The picture that was sent, in pixels as it stands upright."""

    width: int
    height: int
    size_bytes: int


class PredictBody(BaseModel):
    """The answer for one picture. Where the copy could not be stored, `note` says why, and it has no address."""

    success: Literal[True] = True
    filename: str
    timestamp: str
    prediction: Prediction
    image_info: ImageInfo
    result_image_url: str | None
    result_filename: str | None
    note: str | None = None


class BatchResult(BaseModel):
    """One picture of a batch."""

    index: int
    filename: str
    prediction: Prediction
    result_image_url: str | None
    result_filename: str | None


class BatchFailure(BaseModel):
    """A picture of a batch that was not analysed, and why."""

    index: int
    filename: str
    error: str


class BatchBody(BaseModel):
    """The answer for many pictures."""

    success: Literal[True] = True
    total_images: int
    successful: int
    failed: int
    results: list[BatchResult]
    errors: list[BatchFailure] | None


class ErrorBody(BaseModel):
    """An error."""

    success: Literal[False] = False
    error: str


@dataclass(frozen=True, slots=True)
class _Stored:
    """The drawn copy: its name, and the address under which it is got. Empty where it could not be stored."""

    name: str | None = None
    url: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the pictures of one batch share; `deadline_s` is of the loop's clock."""

    request: Request
    model: str
    origin: Origin
    slots: asyncio.Semaphore
    deadline_s: float


@documentation.get("/apidocs")
@documentation.get("/apidocs/")
async def apidocs() -> RedirectResponse:
    """The documentation of all routes."""
    return RedirectResponse("/docs")


@router.post("/predict", openapi_extra=form(ONE, "a picture"), responses=errors_as(ErrorBody))
async def predict(request: Request) -> PredictBody:
    """Whether a picture is fake, and a copy that shows it."""
    async with received(request, ONE) as uploads:
        upload = uploads.files[0]
        analysis = await _analyzed(request, upload, model_of(request, uploads.fields), origin_of(request))
        stored = await _stored(request, upload, analysis)
    media = analysis.verdict.media
    return PredictBody(
        filename=upload.filename,
        timestamp=timestamp(),
        prediction=prediction(analysis.verdict),
        image_info=ImageInfo(width=media.width, height=media.height, size_bytes=media.size_bytes),
        result_image_url=stored.url,
        result_filename=stored.name,
        note=stored.note,
    )


@router.post("/batch_predict", openapi_extra=form(MANY, "pictures"), responses=errors_as(ErrorBody))
@router.post("/predict/batch", openapi_extra=form(MANY, "pictures"), responses=errors_as(ErrorBody))
async def predict_batch(request: Request) -> BatchBody:
    """Up to 50 pictures; one that cannot be analysed fails alone."""
    caller, batch_id = caller_of(request), new_id("bat")
    origin = Origin(caller, request.scope["path"], batch_id)
    async with received(request, MANY) as uploads:
        deadline_s = asyncio.get_running_loop().time() + request.app.state.settings.request_timeout_s
        batch = _Batch(request, model_of(request, uploads.fields), origin, asyncio.Semaphore(AT_ONCE), deadline_s)
        async with asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(_one(batch, index, upload)) for index, upload in enumerate(uploads.files)]
    body = _batch([task.result() for task in working])
    try:
        await _history(request).record_batch(caller.owner, batch_id, successful=body.successful, failed=body.failed)
    except DatabaseUnavailable:
        LOGGER.exception("the batch of request %s is not recorded", caller.request_id)
    return body


async def _one(batch: _Batch, index: int, upload: Upload) -> BatchResult | BatchFailure:
    """What came of one picture of a batch. Its failure is its own."""
    settings: Settings = batch.request.app.state.settings
    if upload.over_limit:
        refusal = MANY.refusal(MANY.max_bytes(settings))
        return BatchFailure(index=index, filename=upload.filename, error=refusal.detail)
    try:
        async with asyncio.timeout_at(batch.deadline_s), batch.slots:
            analysis = await _analyzed(batch.request, upload, batch.model, batch.origin)
            stored = await _stored(batch.request, upload, analysis)
    except TimeoutError:
        return BatchFailure(index=index, filename=upload.filename, error=too_slow(settings.request_timeout_s).detail)
    except Exception as error:  # noqa: BLE001 - the others' answers must not be lost
        return BatchFailure(index=index, filename=upload.filename, error=_why(batch.origin.caller, error))
    return BatchResult(
        index=index,
        filename=upload.filename,
        prediction=prediction(analysis.verdict),
        result_image_url=stored.url,
        result_filename=stored.name,
    )


def _why(caller: Caller, error: Exception) -> str:
    """Why a picture was not analysed, as it would have been told alone."""
    if isinstance(error, UnmaskError):
        error = from_cause(error)
    if isinstance(error, ApiError):
        return error.detail
    LOGGER.error("unexpected error in a batch, request %s", caller.request_id, exc_info=error)
    return "The service failed on this picture."


def _batch(found: Sequence[BatchResult | BatchFailure]) -> BatchBody:
    results = [one for one in found if isinstance(one, BatchResult)]
    errors = [one for one in found if isinstance(one, BatchFailure)]
    return BatchBody(
        total_images=len(found),
        successful=len(results),
        failed=len(errors),
        results=results,
        errors=errors or None,
    )


async def _analyzed(request: Request, upload: Upload, model: str, origin: Origin) -> Analysis:
    must_be(upload, "image")
    analysis = await analyzed(request, upload, model, origin)
    decided(analysis.verdict)
    return analysis


async def _stored(request: Request, upload: Upload, analysis: Analysis) -> _Stored:
    """Draw the verdict into the picture, and store that beside the analysis. A verdict is not lost for its picture."""
    if not analysis.id:
        return _Stored(note="The analysis could not be recorded, so no picture of it is kept.")
    verdict = VERDICT.validate_python(analysis.verdict.model_dump())
    name, artifacts = f"visual/{analysis.id}{suffix(verdict.media)}", _artifacts(request)
    upload.file.seek(0)
    try:
        async with aclosing(request.app.state.service.draw(upload, verdict)) as pieces:
            await artifacts.put(name, pieces, content_type(verdict.media), upload.filename)
        await _history(request).attach(caller_of(request).owner, analysis.id, "visual", name)
        return _Stored(base_name(name), await linked(request, name))
    except UnmaskError as error:  # it could not be drawn, or not be kept
        LOGGER.warning("no picture of analysis %s is kept: %s", analysis.id, error)
        return _Stored(note=f"The picture with the verdict is not kept. {error}")


def prediction(verdict: VerdictBody) -> Prediction:
    """What a decided verdict says; raises `ApiError` for UNDETERMINED."""
    label = decided(verdict)
    p_fake = verdict.p_fake or 0.0  # a decided verdict has one
    return Prediction(
        label=label,
        is_fake=label == "FAKE",
        confidence=verdict.confidence,
        scores=Scores(real=1 - p_fake, fake=p_fake),
    )


async def linked(request: Request, name: str) -> str:
    """An address of a stored picture that any client opens, for a time."""
    address = await _artifacts(request).link(name, base_name(name), LINK_S)
    return str(request.base_url).rstrip("/") + address if address.startswith("/") else address


def base_name(name: str) -> str:
    """A stored file's name without its folder."""
    return name.rpartition("/")[2]


def _artifacts(request: Request) -> Artifacts:
    artifacts: Artifacts = request.app.state.artifacts
    return artifacts


def _history(request: Request) -> History:
    history: History = request.app.state.history
    return history
