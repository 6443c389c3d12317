"""The routes of the FaceNet service below `/api/v1`: a picture's verdict, and its verdict by seven votes."""

import asyncio
import hashlib
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from safetensors import safe_open
from starlette.responses import RedirectResponse

from models.detectors.catalogue import Catalogue, ModelRow
from models.errors import UnmaskError
from serve_app.asking import Ask
from serve_app.errors import from_cause, timestamp
from serve_app.routes.analyze import KEYS
from serve_app.routes.seeds.contract import (
    Contract,
    analyzed,
    decided,
    errors_as,
    form,
    is_ready,
    model_of,
    must_be,
    received,
    tell,
    undetermined,
)
from serve_app.schemas import VerdictBody
from serve_app.service import Service
from serve_app.uploads import Upload

CONTRACT = Contract(("file",), None, "File too large. Maximum file size is {}MB.")  # it declared 16 MB, and took more
router = APIRouter(prefix="/api/v1", tags=["older services: FaceNet"])


class ErrorBody(BaseModel):
    """An error."""

    error: str
    error_code: str
    details: str
    timestamp: str


class DebugInfo(BaseModel):
    """The shape that the first detector that answered takes, and P(fake) behind the prediction."""

    input_shape: list[int]
    raw_prediction: float | None


class DetectionBody(BaseModel):
    """`confidence` is that in the prediction."""

    prediction: Literal["real", "fake", "undetermined"]
    confidence: float
    processing_time: float
    debug_info: DebugInfo


class AugmentedPrediction(BaseModel):
    """What was said of one changed picture; `undetermined` where it cannot be told."""

    augmentation_type: str
    prediction: Literal["real", "fake", "undetermined"]
    confidence: float


class AugmentedDebugInfo(BaseModel):
    """How the votes fell: `predictions_below_threshold` are for FAKE; `input_size` is in pixels."""

    predictions_below_threshold: int
    total_predictions: int
    threshold: float
    input_size: tuple[int, int]


class AugmentedBody(BaseModel):
    """`average_confidence` is the mean confidence in the consensus, over the pictures that have a score."""

    original_prediction: DetectionBody
    augmented_predictions: list[AugmentedPrediction]
    consensus_prediction: Literal["FAKE", "REAL"]
    average_confidence: float
    processing_time: float
    debug_info: AugmentedDebugInfo


class HealthBody(BaseModel):
    """Whether the service can answer."""

    status: Literal["healthy", "unhealthy"]
    model_loaded: bool
    timestamp: str


class ModelInfoBody(BaseModel):
    """The first model that answers for pictures: what it takes, where it comes from, and what it is built of."""

    input_shape: list[int]
    image_size: list[int]
    model_path: str
    layers: list[str]


@dataclass(frozen=True, slots=True)
class _Copy:
    """A changed picture: by which change, of how many pixels, and as if it had been uploaded."""

    change: str
    size_wh: tuple[int, int]
    upload: Upload


@router.get("/docs", include_in_schema=False)
async def docs() -> RedirectResponse:
    """The documentation of all routes."""
    return RedirectResponse("/docs")


@router.get("/detect/health", responses={405: {"model": ErrorBody}, 503: {"model": HealthBody}})
async def health(request: Request, response: Response) -> HealthBody:
    """200 when the service can answer, else 503."""
    ready = is_ready(await request.app.state.service.health())
    tell(response, ready=ready)
    return HealthBody(status="healthy" if ready else "unhealthy", model_loaded=ready, timestamp=timestamp())


@router.get("/model/info", dependencies=KEYS, responses=errors_as(ErrorBody))
async def model_info(request: Request) -> ModelInfoBody:
    """What is known of the model that looks at pictures by default, or of `?model=`."""
    row = _looking(request, model_of(request, {}))
    try:
        weights = request.app.state.catalogue.store.files(row)["weights"]
    except UnmaskError as error:
        raise from_cause(error) from error
    return ModelInfoBody(
        input_shape=_input_shape(row),
        image_size=[row.view.size, row.view.size],
        model_path=weights.name,
        layers=await asyncio.to_thread(layers, weights),
    )


@router.post("/detect", include_in_schema=False, dependencies=KEYS)
@router.post("/detect/", dependencies=KEYS, openapi_extra=form(CONTRACT, "a picture"), responses=errors_as(ErrorBody))
async def detect(request: Request) -> DetectionBody:
    """Whether a picture is fake."""
    started = time.monotonic()
    async with received(request, CONTRACT) as uploads:
        upload = uploads.files[0]
        must_be(upload, "image")
        model = model_of(request, uploads.fields)
        verdict = (await analyzed(request, upload, model)).verdict
        decided(verdict)
    return _detection(verdict, _answered(request, verdict, model), started)


@router.post("/detect/augmented/", include_in_schema=False, dependencies=KEYS)
@router.post(
    "/detect/augmented",
    dependencies=KEYS,
    openapi_extra=form(CONTRACT, "a picture"),
    responses=errors_as(ErrorBody),
)
async def augmented(request: Request) -> AugmentedBody:
    """Whether a picture is fake, by the votes of itself and of six changed copies."""
    started = time.monotonic()
    async with received(request, CONTRACT) as uploads:
        upload = uploads.files[0]
        must_be(upload, "image")
        model = model_of(request, uploads.fields)
        original = (await analyzed(request, upload, model)).verdict
        first = _detection(original, _answered(request, original, model), started)
        service, asked = request.app.state.service, model or request.app.state.settings.default_model
        with ExitStack() as held:
            copies = await _copies(service, upload, held)
            verdicts = [original, *await _verdicts(service, copies, asked)]
    consensus = _consensus(verdicts)
    scores = [verdict.p_fake for verdict in verdicts if verdict.p_fake is not None]
    return AugmentedBody(
        original_prediction=first,
        augmented_predictions=[
            AugmentedPrediction(augmentation_type=copy.change, **_said(verdict))
            for copy, verdict in zip(copies, verdicts[1:], strict=True)
        ],
        consensus_prediction=consensus,
        average_confidence=statistics.fmean(p if consensus == "FAKE" else 1 - p for p in scores),
        processing_time=time.monotonic() - started,
        debug_info=AugmentedDebugInfo(
            predictions_below_threshold=sum(verdict.verdict == "FAKE" for verdict in verdicts),
            total_predictions=len(verdicts),
            threshold=request.app.state.catalogue.verdict.fake_above,
            input_size=copies[0].size_wh,
        ),
    )


def layers(weights: Path) -> list[str]:
    """The names of a network's parts that have weights, in the file's order; none where the file has no names."""
    if weights.suffix != ".safetensors":
        return []
    with safe_open(weights, "numpy") as file:  # reads the header alone
        return list(dict.fromkeys(name.rpartition(".")[0] or name for name in file.keys()))  # noqa: SIM118 - no mapping


async def _copies(service: Service, upload: Upload, held: ExitStack) -> list[_Copy]:
    """The changed copies of a picture, each put aside as it comes: never two of them are in memory."""
    copies: list[_Copy] = []
    async with aclosing(service.vary(upload)) as changed:
        async for variant in changed:
            file = tempfile.TemporaryFile(prefix="unmask-")  # noqa: SIM115 - closed with what holds it
            held.enter_context(file)
            file.write(variant.png)
            file.seek(0)
            sha256, size_bytes = hashlib.sha256(variant.png).hexdigest(), len(variant.png)
            copy = Upload(file, f"{variant.change}.png", sha256=sha256, size_bytes=size_bytes)
            copies.append(_Copy(variant.change, variant.size_wh, copy))
    return copies


async def _verdicts(service: Service, copies: Sequence[_Copy], model: str) -> list[VerdictBody]:
    """The verdict of each changed picture. They are nobody's files, so none is recorded."""
    found = await asyncio.gather(*(service.analyze(copy.upload, Ask(model)) for copy in copies))
    return [VerdictBody.model_validate(verdict) for verdict in found]


def _consensus(verdicts: Sequence[VerdictBody]) -> Literal["FAKE", "REAL"]:
    """What at least half of the pictures are found to be; raises `ApiError` where neither has as many."""
    for label in ("FAKE", "REAL"):
        if 2 * sum(verdict.verdict == label for verdict in verdicts) >= len(verdicts):
            return label
    votes = ", ".join(verdict.verdict for verdict in verdicts)
    original = verdicts[0]
    raise undetermined(original.reason_code, f"neither has half of the votes ({votes})", original.p_fake)


def _detection(verdict: VerdictBody, row: ModelRow, started: float) -> DetectionBody:
    return DetectionBody(
        **_said(verdict),
        processing_time=time.monotonic() - started,
        debug_info=DebugInfo(input_shape=_input_shape(row), raw_prediction=verdict.p_fake),
    )


def _said(verdict: VerdictBody) -> dict[str, Any]:
    return {"prediction": verdict.verdict.lower(), "confidence": verdict.confidence}


def _answered(request: Request, verdict: VerdictBody, model: str) -> ModelRow:
    """The row of the first detector that answered."""
    catalogue: Catalogue = request.app.state.catalogue
    answered = [report.id for report in verdict.detectors if report.status == "ok" and report.id in catalogue.ids]
    return catalogue.row(answered[0]) if answered else _looking(request, model)


def _looking(request: Request, model: str) -> ModelRow:
    """The first row that looks at pictures, of a model's name or of the default."""
    catalogue: Catalogue = request.app.state.catalogue
    rows = catalogue.choose(model or request.app.state.settings.default_model)
    return next((row for row in rows if row.view.region != "audio"), rows[0])


def _input_shape(row: ModelRow) -> list[int]:
    return [1, row.view.size, row.view.size, 3]
