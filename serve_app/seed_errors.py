"""The bodies of errors on the routes of four older services, as their clients read them.

`errors.problem_response` asks here first, so that also a refused key, an unknown path below these routes and an
unexpected failure come in the shape of the service whose path was asked. The native routes never come by here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as `errors` knows it: see `ApiError`; `timestamp` is RFC 3339."""

    path: str
    status: int
    code: str
    detail: str
    timestamp: str
    extra: Mapping[str, Any] = field(default_factory=dict)


Answer = tuple[int, dict[str, Any]]  # status and body
Shape = Callable[[Refusal], Answer]

_NO_FILE = frozenset({"missing_file", "unexpected_file"})
_WRONGLY_ASKED = frozenset({"invalid_request", "wrong_selection", "idempotency_key_reused"})  # 422, not about the media
_UNHEARD_OF = frozenset({401, 403, 404, 405, 409, 429})  # FaceNet's service had none of these, so no code for them
_BAD_REQUEST = frozenset({408, 413, 415, 422})  # told apart by DeepSafe's error_type, not by its status


def seed_answer(refusal: Refusal) -> Answer | None:
    """Status and body of an error on the path of an older service; None on any other path."""
    if refusal.code == "not_a_form":  # these services looked for the file, and said that there is none
        refusal = replace(refusal, status=400, code="missing_file")
    for folder, shape in _SHAPES.items():
        if refusal.path == folder or refusal.path.startswith(folder + "/"):
            return shape(refusal)
    return None


def _d3(refusal: Refusal) -> Answer:
    words = "No image file provided" if refusal.code in _NO_FILE else refusal.detail
    return refusal.status, {"success": False, "error": words}


def _deepsafe(refusal: Refusal) -> Answer:
    sense = "audio" if "/audio" in refusal.path else "video"
    body = {"success": False, "error": _deepsafe_words(refusal, sense), "error_type": _deepsafe_type(refusal)}
    if refusal.status in _BAD_REQUEST:
        return 400, body
    return (503 if refusal.status > HTTPStatus.INTERNAL_SERVER_ERROR else refusal.status), body


def _deepsafe_words(refusal: Refusal, sense: str) -> str:
    if refusal.code in _NO_FILE:
        return f"No {sense} file provided"
    if refusal.code == "unsupported_media":
        formats = "MP3, WAV, M4A, OGG" if sense == "audio" else "MP4, AVI, MOV, WEBM"
        return f"Unsupported {sense} format. Supported formats: {formats}"
    if refusal.code == "internal_error":
        return f"Internal server error during {sense} processing"
    return refusal.detail


def _deepsafe_type(refusal: Refusal) -> str:
    if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "server_error"
    of_media = refusal.status == HTTPStatus.UNPROCESSABLE_ENTITY and refusal.code not in _WRONGLY_ASKED
    return "processing_error" if of_media else "validation_error"


def _facenet(refusal: Refusal) -> Answer:
    words, code = _facenet_words(refusal)
    return refusal.status, {
        "error": words,
        "error_code": code,
        "details": refusal.detail,
        "timestamp": refusal.timestamp,
    }


def _facenet_words(refusal: Refusal) -> tuple[str, str]:
    if refusal.code in _NO_FILE:
        return "No file provided", "MISSING_FILE"
    if refusal.code == "empty_media":
        return "The file is empty", "EMPTY_FILE"
    if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "Internal server error", "SERVER_ERROR"
    if refusal.status in _UNHEARD_OF:
        return refusal.detail, refusal.code.upper()
    return "Error processing image", "PROCESSING_ERROR"


def _small(refusal: Refusal) -> Answer:
    words = "No video file provided" if refusal.code in _NO_FILE else refusal.detail
    return refusal.status, {"error": words, **refusal.extra}


_SHAPES: dict[str, Shape] = {
    "/predict": _d3,
    "/batch_predict": _d3,
    "/api/db": _d3,
    "/api/detect": _deepsafe,
    "/api/health": _deepsafe,
    "/api/v1": _facenet,
    "/detect_deepfake": _small,
}
