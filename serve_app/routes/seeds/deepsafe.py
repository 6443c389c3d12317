"""The routes of DeepSafe: `/api/health/`, `/api/detect/video/`, `/api/detect/audio/`, with the last slash and without.

What is said of the pictures rests on the detectors that look, what is said of the sound on those that listen; both are
asked in one analysis. `combined` is 0.6 of the one and 0.4 of the other, as that service had it.
"""

import time
from http import HTTPStatus
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from models.detectors.catalogue import ENSEMBLE, Catalogue
from models.errors import WrongSelection
from serve_app.errors import ApiError, timestamp
from serve_app.routes.analyze import KEYS, asked
from serve_app.routes.seeds.contract import (
    Contract,
    analyzed,
    answering,
    errors_as,
    form,
    is_ready,
    model_of,
    must_be,
    received,
    tell,
    undetermined,
)
from serve_app.schemas import FindingBody, VerdictBody
from serve_app.service import detector_name

VIDEO = Contract(("video",), 100, "Video file too large. Maximum size: {}MB")
AUDIO = Contract(("audio",), 50, "Audio file too large. Maximum size: {}MB")
VIDEO_SHARE = 0.6  # of the combined P(fake); the rest is the sound's
WORDS = {
    "no_face": "No faces detected in video - cannot analyze",
    "silent": "Audio appears to be silent - cannot analyze",
}
router = APIRouter(prefix="/api", tags=["older services: DeepSafe"])


class Prediction(BaseModel):
    """What is said of one sense, or of both."""

    real_probability: float
    fake_probability: float
    prediction: Literal["real", "fake"]
    confidence: float


class VideoPrediction(Prediction):
    """Of the pictures."""

    frames_analyzed: int


class AudioPrediction(Prediction):
    """Of the sound: a segment is a stretch that a detector scored; the length is told for recordings."""

    segments_analyzed: int
    duration_seconds: float | None = None


class Predictions(BaseModel):
    """Of what was analysed."""

    video: VideoPrediction | None = None
    audio: AudioPrediction | None = None
    combined: Prediction | None = None


class ErrorBody(BaseModel):
    """An error."""

    success: Literal[False] = False
    error: str
    error_type: Literal["validation_error", "processing_error", "server_error"]


class DetectionBody(BaseModel):
    """The answer. `audio_error` says why sound that was to be analysed could not be."""

    success: Literal[True] = True
    file_type: Literal["video", "audio"]
    predictions: Predictions
    processing_time: float
    timestamp: str
    audio_error: ErrorBody | None = None


class HealthBody(BaseModel):
    """Whether the service can answer."""

    status: Literal["healthy", "unhealthy"]
    video_model_loaded: bool
    audio_model_loaded: bool
    error: str | None = None
    timestamp: str


@router.get("/health", include_in_schema=False, response_model_exclude_none=True)
@router.get(
    "/health/", responses={405: {"model": ErrorBody}, 503: {"model": HealthBody}}, response_model_exclude_none=True
)
async def health(request: Request, response: Response) -> HealthBody:
    """200 when the service can answer, else 503."""
    catalogue: Catalogue = request.app.state.catalogue
    deployments = await request.app.state.service.health()
    loaded = [row for row in catalogue.rows if detector_name(row.id) in deployments]
    ready = is_ready(deployments)
    tell(response, ready=ready)
    return HealthBody(
        status="healthy" if ready else "unhealthy",
        video_model_loaded=ready and any(row.view.region != "audio" for row in loaded),
        audio_model_loaded=ready and any(row.view.region == "audio" for row in loaded),
        error=None if ready else "Models not loaded",
        timestamp=timestamp(),
    )


@router.post("/detect/video", include_in_schema=False, dependencies=KEYS, response_model_exclude_none=True)
@router.post(
    "/detect/video/",
    dependencies=KEYS,
    openapi_extra=form(VIDEO, "a video", analyze_audio="whether to analyse the sound too: true or false"),
    responses=errors_as(ErrorBody),
    response_model_exclude_none=True,
)
async def detect_video(request: Request) -> DetectionBody:
    """Whether a video's pictures are fake, and with `analyze_audio` its sound."""
    started = time.monotonic()
    async with received(request, VIDEO) as uploads:
        upload = uploads.files[0]
        must_be(upload, "video", None)
        heard = asked(upload, "analyze_audio")
        named = model_of(request, uploads.fields)
        looking = _rows(request, named, sound=False)
        listening = _rows(request, named, sound=True) if heard else ()
        if not looking:
            raise WrongSelection(f"{named} does not look at pictures.")
        verdict = (await analyzed(request, upload, ",".join((*looking, *listening)))).verdict
    found = _finding(verdict, sound=False)
    pictures = VideoPrediction(**_probabilities(found), frames_analyzed=verdict.media.frames_analysed)
    predictions, failure = Predictions(video=pictures), None
    if heard:
        failure = _add_sound(predictions, verdict, pictures.fake_probability)
    return _body("video", predictions, started, failure)


@router.post("/detect/audio", include_in_schema=False, dependencies=KEYS, response_model_exclude_none=True)
@router.post(
    "/detect/audio/",
    dependencies=KEYS,
    openapi_extra=form(AUDIO, "a recording"),
    responses=errors_as(ErrorBody),
    response_model_exclude_none=True,
)
async def detect_audio(request: Request) -> DetectionBody:
    """Whether a recording is fake."""
    started = time.monotonic()
    async with received(request, AUDIO) as uploads:
        upload = uploads.files[0]
        must_be(upload, "audio", "video", None)
        named = model_of(request, uploads.fields)
        listening = _rows(request, named, sound=True)
        if not listening:
            raise WrongSelection(f"{named or 'No model that is served'} does not listen to sound.")
        verdict = (await analyzed(request, upload, ",".join(listening))).verdict
    sound = _sound(verdict)
    sound.duration_seconds = verdict.media.audio_s
    return _body("audio", Predictions(audio=sound), started)


def _body(
    file_type: Literal["video", "audio"], predictions: Predictions, started: float, failure: ErrorBody | None = None
) -> DetectionBody:
    return DetectionBody(
        file_type=file_type,
        predictions=predictions,
        processing_time=time.monotonic() - started,
        timestamp=timestamp(),
        audio_error=failure,
    )


def _rows(request: Request, named: str, *, sound: bool) -> tuple[str, ...]:
    """The models of one sense: of the one that was named, or of the service's default, or of all if that has none."""
    catalogue: Catalogue = request.app.state.catalogue
    if named:
        return answering(catalogue, named, sound=sound)
    default = answering(catalogue, request.app.state.settings.default_model, sound=sound)
    return default or answering(catalogue, ENSEMBLE, sound=sound)


def _add_sound(predictions: Predictions, verdict: VerdictBody, video_p_fake: float) -> ErrorBody | None:
    """Add what is said of the sound and of both together; why that cannot be said, where it cannot."""
    try:
        predictions.audio = _sound(verdict)
    except ApiError as error:
        failed = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return ErrorBody(error=error.detail, error_type="server_error" if failed else "processing_error")
    p_fake = VIDEO_SHARE * video_p_fake + (1 - VIDEO_SHARE) * predictions.audio.fake_probability
    predictions.combined = Prediction(
        real_probability=1 - p_fake,
        fake_probability=p_fake,
        prediction="fake" if p_fake > 1 / 2 else "real",
        confidence=max(p_fake, 1 - p_fake),
    )
    return None


def _sound(verdict: VerdictBody) -> AudioPrediction:
    scored = sum(point.region == "audio" for point in verdict.timeline)
    return AudioPrediction(**_probabilities(_finding(verdict, sound=True)), segments_analyzed=max(1, scored))


def _finding(verdict: VerdictBody, *, sound: bool) -> FindingBody:
    """The most fake finding of a sense; raises `ApiError` where nobody looked, or listened."""
    found = [finding for finding in verdict.findings if finding.decides and (finding.region == "audio") == sound]
    if not found:
        what = "listens to sound" if sound else "looks at pictures"
        raise undetermined("nothing_applicable", f"no detector that was asked {what}", None)
    return max(found, key=lambda finding: -1.0 if finding.p_fake is None else finding.p_fake)


def _probabilities(finding: FindingBody) -> dict[str, Any]:
    """What a decided finding says; raises `ApiError` for one that says neither."""
    if finding.verdict == "UNDETERMINED" or finding.p_fake is None:
        refusal = undetermined(finding.reason_code, finding.reason, finding.p_fake)
        refusal.detail = WORDS.get(finding.reason_code, refusal.detail)
        raise refusal
    return {
        "real_probability": 1 - finding.p_fake,
        "fake_probability": finding.p_fake,
        "prediction": finding.verdict.lower(),
        "confidence": max(finding.p_fake, 1 - finding.p_fake),
    }
