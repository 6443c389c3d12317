"""`POST /analyze`, `/detailed`, `/frames`, `/image`, `/audio`: one file in, one verdict out."""

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from models.detectors.catalogue import CASCADE, ENSEMBLE, Catalogue
from models.errors import UnmaskError
from models.media.limits import ACCEPTED_MEDIA
from serve_app.analyst import Analysis
from serve_app.asking import ANALYZE, Ask, origin_of, wants_fresh
from serve_app.auth import requires
from serve_app.errors import ApiError, from_cause, request_id, timestamp
from serve_app.figures import (
    analysis_details,
    frame_predictions,
    frames_summary,
    model_info,
    system_info,
    temporal_analysis,
)
from serve_app.kinds import ANY, PICTURE, RECORDING, Wanted
from serve_app.schemas import AnalyzeBody, DetailedBody, FramesBody, ProblemBody
from serve_app.settings import Settings
from serve_app.uploads import Upload, receive

KEYS = [requires(ANALYZE)]
router = APIRouter(prefix="/analyze", tags=["analyze"], dependencies=KEYS)

NAMES = "a model's id, several with commas between, `ensemble` or `cascade`; by default the service's default model"
ModelName = Annotated[str, Query(description=NAMES)]
Explain = Annotated[bool, Query(description="add saliency maps of what decided; takes as long again or longer")]
YES, NO = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"content": {"application/problem+json": {"schema": ProblemBody.model_json_schema()}}, "description": what}
    for status, what in (
        (400, "the form or the file is empty or malformed"),
        (401, "the key is missing or wrong"),
        (403, "the key may not do this"),
        (404, "no such model"),
        (408, "the body took too long"),
        (413, "the body is over the limit"),
        (415, "not a form, or not an accepted format"),
        (422, "the media cannot be analysed: truncated, corrupt, over a limit"),
        (429, "the key has asked as often as it may"),
        (500, "the service failed"),
        (503, "the service is not ready or has too much to do"),
        (504, "the analysis took too long"),
        (507, "there is no room to receive the file"),
    )
}


def form(flag: str, wanted: Wanted = ANY) -> dict[str, Any]:
    """What the documentation says of the body: a form, in which one flag may stand, or the media itself."""
    file = {"type": "string", "format": "binary", "description": f"{MEDIA[wanted.kind]}. {ACCEPTED_MEDIA}"}
    fields = {
        **dict.fromkeys(wanted.fields, file),
        "model": {"type": "string", "description": "as the query parameter"},
        flag: {"type": "boolean", "description": "as the query parameter"},
    }
    one_of = [{"required": [name]} for name in wanted.fields]
    schema = {"type": "object", "properties": fields, "oneOf": one_of}
    kinds = [f"{kind}/*" for kind in ("video", "image", "audio") if wanted.kind in {None, kind}]
    raw = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in (*kinds, "application/octet-stream")}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}, **raw}}}


MEDIA = {None: "a video, a picture or a recording", "image": "a picture", "audio": "a recording", "video": "a video"}
FORM = form("explain")


@router.post("", openapi_extra=FORM, responses=PROBLEMS)
async def analyze(request: Request, model: ModelName = "", explain: Explain = False) -> AnalyzeBody:
    """Verdict with confidence, detectors, faces and timeline."""
    return await _answer(request, model, explain=explain)


@router.post("/detailed", openapi_extra=FORM, responses=PROBLEMS)
async def detailed(request: Request, model: ModelName = "", explain: Explain = False) -> DetailedBody:
    """The same, with figures over the frames and facts about the models and devices."""
    answer = await _answer(request, model, explain=explain)
    return DetailedBody(
        **dict(answer),
        analysis_details=analysis_details(answer),
        model_info=model_info(answer, request.app.state.catalogue),
        system_info=system_info(answer),
    )


@router.post("/frames", openapi_extra=FORM, responses=PROBLEMS)
async def frames(request: Request, model: ModelName = "", explain: Explain = False) -> FramesBody:
    """The same, with a prediction per frame of who decided, and how these run over time."""
    answer = await _answer(request, model, explain=explain)
    predictions = frame_predictions(answer, request.app.state.catalogue)
    return FramesBody(
        **dict(answer),
        frame_predictions=predictions,
        temporal_analysis=temporal_analysis(answer, predictions),
        summary=frames_summary(answer, predictions),
    )


@router.post("/image", openapi_extra=form("explain", PICTURE), responses=PROBLEMS)
async def image(request: Request, model: ModelName = "", explain: Explain = False) -> AnalyzeBody:
    """The verdict on a picture; any other file is refused."""
    return await _answer(request, model, explain=explain, wanted=PICTURE)


@router.post("/audio", openapi_extra=form("explain", RECORDING), responses=PROBLEMS)
async def audio(request: Request, model: ModelName = "", explain: Explain = False) -> AnalyzeBody:
    """The verdict on a recording; any other file is refused."""
    return await _answer(request, model, explain=explain, wanted=RECORDING)


async def _answer(request: Request, model: str, *, explain: bool, wanted: Wanted = ANY) -> AnalyzeBody:
    started = time.monotonic()
    settings: Settings = request.app.state.settings
    catalogue: Catalogue = request.app.state.catalogue
    if model:
        known(catalogue, model)  # before the body is read: a misspelt name should not cost an upload
    try:
        async with request.app.state.admission.turn():
            limits = settings.max_upload_bytes, settings.upload_timeout_s
            upload = await receive(request, *limits, fields=wanted.fields)
            with upload.file:
                named = upload.fields.get("model") or upload.fields.get("model_name")
                model = model or named or settings.default_model
                known(catalogue, model)
                explain = explain or asked(upload, "explain")
                wanted.check_upload(upload)
                async with asyncio.timeout(settings.request_timeout_s):
                    ask = Ask(model, explain=explain, fresh=wants_fresh(request))
                    analysis: Analysis = await request.app.state.analyst.analyze(upload, ask, origin_of(request))
    except TimeoutError:
        raise too_slow(settings.request_timeout_s) from None
    except UnmaskError as error:
        raise from_cause(error, catalogue.ids) from error
    wanted.check(analysis.verdict.media.kind)
    return body_of(request, upload, analysis, time.monotonic() - started)


def body_of(request: Request, upload: Upload, analysis: Analysis, total_s: float) -> AnalyzeBody:
    """What is answered for one analysis that took so many seconds from the first byte."""
    verdict = analysis.verdict
    timings = verdict.timings.model_copy(update={"receive_s": upload.receive_s, "total_s": total_s})
    return AnalyzeBody.model_validate(
        {
            **verdict.model_copy(update={"timings": timings}).model_dump(),
            "id": analysis.id,
            "recorded": bool(analysis.id),
            "reused_from": analysis.reused_from,
            "prediction": verdict.verdict,
            "processing_time": total_s,
            "timestamp": timestamp(),
            "request_id": request_id(request.scope),
        }
    )


def known(catalogue: Catalogue, model: str) -> None:
    """Raises the answer to a model's name that the catalogue does not have."""
    try:
        catalogue.choose(model)
    except UnmaskError as error:
        raise from_cause(error, (ENSEMBLE, CASCADE, *catalogue.ids)) from None


def asked(upload: Upload, name: str) -> bool:
    """A yes or no from a form, where the query says nothing."""
    value = upload.fields.get(name, "")
    if value.lower() not in YES | NO:
        raise ApiError(
            422, "invalid_request", f"The field {name} is {value[:20]!r}.", suggestions=["Send true or false"]
        )
    return value.lower() in YES


def too_slow(limit_s: float) -> ApiError:
    """The answer when the time for an analysis is over."""
    return ApiError(
        504,
        "analysis_timeout",
        f"The analysis took longer than {limit_s:g} s.",
        suggestions=["Send a shorter part", "Try again when the service has less to do"],
    )
