"""`POST /analyze` and `/analyze/detailed`: one video, picture or recording in, one verdict out."""

import asyncio
import statistics
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from models.detectors.catalogue import CASCADE, ENSEMBLE, Catalogue
from models.errors import UnmaskError
from models.media.limits import ACCEPTED_MEDIA
from serve_app.analyst import Analysis
from serve_app.asking import Ask, origin_of, wants_fresh
from serve_app.errors import ApiError, from_cause, request_id, timestamp
from serve_app.schemas import (
    AnalysisDetails,
    AnalyzeBody,
    DetailedBody,
    ModelInfo,
    ProblemBody,
    SystemInfo,
    TimelineBody,
    VerdictBody,
)
from serve_app.settings import Settings
from serve_app.uploads import Upload, receive

# The middleware checks the key; these two only tell the documentation how it is sent.
KEYS = [Security(APIKeyHeader(name="X-API-Key", auto_error=False)), Security(HTTPBearer(auto_error=False))]
router = APIRouter(prefix="/analyze", tags=["analyze"], dependencies=KEYS)

ROLLING_FRAMES = 10  # the older service's rolling window
NAMES = "a model's id, several with commas between, `ensemble` or `cascade`; by default the service's default model"
ModelName = Annotated[str, Query(description=NAMES)]
Explain = Annotated[bool, Query(description="add saliency maps of what decided; takes as long again or longer")]
YES, NO = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"content": {"application/problem+json": {"schema": ProblemBody.model_json_schema()}}, "description": what}
    for status, what in (
        (400, "the form or the file is empty or malformed"),
        (401, "the key is missing or wrong"),
        (404, "no such model"),
        (408, "the body took too long"),
        (413, "the body is over the limit"),
        (415, "not a form, or not an accepted format"),
        (422, "the media cannot be analysed: truncated, corrupt, over a limit"),
        (503, "the service is not ready or has too much to do"),
        (504, "the analysis took too long"),
    )
}


def form(flag: str) -> dict[str, Any]:
    """What the documentation says of the form, in which one flag may stand."""
    media = f"a video, a picture or a recording. {ACCEPTED_MEDIA}"
    fields = {
        "video": {"type": "string", "format": "binary", "description": media},
        "model": {"type": "string", "description": "as the query parameter"},
        flag: {"type": "boolean", "description": "as the query parameter"},
    }
    schema = {"type": "object", "required": ["video"], "properties": fields}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


FORM = form("explain")


@router.post("", openapi_extra=FORM, responses=PROBLEMS)
async def analyze(request: Request, model: ModelName = "", explain: Explain = False) -> AnalyzeBody:
    """Verdict with confidence, detectors, faces and timeline."""
    return AnalyzeBody.model_validate(await _answer(request, model, explain=explain))


@router.post("/detailed", openapi_extra=FORM, responses=PROBLEMS)
async def detailed(request: Request, model: ModelName = "", explain: Explain = False) -> DetailedBody:
    """The same, with figures over the frames and facts about the models and devices."""
    answer = await _answer(request, model, explain=explain)
    verdict: VerdictBody = answer["from"]
    return DetailedBody.model_validate(
        {
            **answer,
            "analysis_details": analysis_details(verdict),
            "model_info": model_info(verdict, request.app.state.catalogue),
            "system_info": system_info(verdict),
        }
    )


async def _answer(request: Request, model: str, *, explain: bool) -> dict[str, Any]:
    started = time.monotonic()
    settings: Settings = request.app.state.settings
    catalogue: Catalogue = request.app.state.catalogue
    if model:
        known(catalogue, model)  # before the body is read: a misspelt name should not cost an upload
    try:
        async with request.app.state.admission.turn():
            upload = await receive(request, settings.max_upload_bytes, settings.upload_timeout_s)
            with upload.file:
                named = upload.fields.get("model") or upload.fields.get("model_name")
                model = model or named or settings.default_model
                known(catalogue, model)
                explain = explain or asked(upload, "explain")
                async with asyncio.timeout(settings.request_timeout_s):
                    ask = Ask(model, explain=explain, fresh=wants_fresh(request))
                    analysis: Analysis = await request.app.state.analyst.analyze(upload, ask, origin_of(request))
    except TimeoutError:
        raise too_slow(settings.request_timeout_s) from None
    except UnmaskError as error:
        raise from_cause(error, catalogue.ids) from error
    total_s = time.monotonic() - started
    verdict = analysis.verdict
    timings = verdict.timings.model_copy(update={"receive_s": upload.receive_s, "total_s": total_s})
    return {
        **verdict.model_copy(update={"timings": timings}).model_dump(),
        "id": analysis.id,
        "recorded": bool(analysis.id),
        "reused_from": analysis.reused_from,
        "prediction": verdict.verdict,
        "processing_time": total_s,
        "timestamp": timestamp(),
        "request_id": request_id(request.scope),
        "from": verdict,
    }


def analysis_details(verdict: VerdictBody) -> AnalysisDetails:
    """See `AnalysisDetails`."""
    scores = [point.p_fake for point in verdict.timeline if _has_decided(point, verdict)]
    if not scores:
        return AnalysisDetails(
            frame_count=verdict.media.frames_analysed,
            avg_confidence=None,
            confidence_std=None,
            temporal_consistency=None,
            rolling_average=None,
        )
    confidences = scores if verdict.verdict == "FAKE" else [1 - score for score in scores]
    return AnalysisDetails(
        frame_count=verdict.media.frames_analysed,
        avg_confidence=statistics.fmean(confidences),
        confidence_std=statistics.pstdev(confidences),
        temporal_consistency=1 - min(2 * statistics.pvariance(scores), 1.0),
        rolling_average=statistics.fmean(confidences[-ROLLING_FRAMES:]),
    )


def _has_decided(point: TimelineBody, verdict: VerdictBody) -> bool:
    """Whether a point is of the face that decided; if none did, of the frames or the sound that are as fake as all."""
    if decided := [face.track for face in verdict.faces if face.decided]:
        return point.face in decided
    regions = [finding.region for finding in verdict.findings if finding.decides and finding.p_fake == verdict.p_fake]
    return point.region in regions


def model_info(verdict: VerdictBody, catalogue: Catalogue) -> ModelInfo:
    """See `ModelInfo`."""
    rows = {row.id: row for row in catalogue.rows}
    used = [report for report in verdict.detectors if report.status == "ok"] or list(verdict.detectors)
    return ModelInfo(
        version=", ".join(report.revision for report in used),
        architecture=", ".join(rows[report.id].architecture for report in used if report.id in rows),
        device=", ".join(sorted({report.device for report in used if report.device})),
    )


def system_info(verdict: VerdictBody) -> SystemInfo:
    """See `SystemInfo`."""
    used = {report.device: report.gpu_memory_bytes for report in verdict.detectors if report.device}
    return SystemInfo(
        gpu_memory_used=f"{sum(used.values()) / 1e9:.1f}GB",
        processing_device=", ".join(sorted(used)) or "none",
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
        headers={"Retry-After": "10"},
    )
