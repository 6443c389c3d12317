"""The one place that maps exceptions to HTTP answers: RFC 9457 problem+json, with the fields older clients read.

Every error body has type, title, status, detail, instance, code, request_id (RFC 9457 and ours), and error, message,
suggestions, timestamp (read by clients of the Drishtiksha service).
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from models import errors as causes
from serve_app.addresses import AddressFailed, AddressNotAllowed
from serve_app.artifacts import ArtifactsError, NoSuchArtifact, StorageFull, StorageUnavailable
from serve_app.database import DatabaseError, DatabaseUnavailable, NotStored
from serve_app.job_errors import UnknownJob
from serve_app.key_errors import WrongKeyOptions
from serve_app.seed_errors import Refusal, seed_answer
from serve_app.signing import ExpiredToken, WrongToken
from serve_app.upload_errors import NoSuchUpload, UploadMissing, UploadTooLarge

LOGGER = logging.getLogger("ray.serve")
RETRY_AFTER_S = "2"  # about as long as one ordinary clip takes

# Retry-After of every answer that a later try may turn into another, unless the error knows better.
LATER_S = {409: RETRY_AFTER_S, 429: "60", 503: "30", 504: "10", 507: "30"}

# Cause -> status and advice. Subclasses that are not listed take their parent's row.
_ANSWERS: tuple[tuple[type[causes.UnmaskError], int, str], ...] = (
    (causes.EmptyMedia, 400, "Check that the file was written completely before it was sent"),
    (causes.UnsupportedMedia, 415, "Convert it: a video to MP4 with H.264, a picture to JPEG, sound to WAV"),
    (causes.TruncatedMedia, 422, "Send the whole file: the copy or the download was cut short"),
    (causes.CorruptMedia, 422, "Open the file in a player or viewer to see whether it is damaged"),
    (causes.NoVideoStream, 422, "Send a file with pictures or sound"),
    (causes.MediaLimitExceeded, 422, "Cut or scale the media down; the limits are at /"),
    (causes.DecoderTimeout, 422, "Cut or scale the media down, or encode it anew"),
    (causes.DecoderOutOfMemory, 422, "Scale the media down, or encode it anew"),
    (causes.DecoderCrashed, 422, "Encode the file anew"),
    (causes.MediaError, 422, "Encode the file anew"),
    (causes.UnknownModel, 404, "Check model name spelling"),
    (causes.WrongSelection, 422, "Name single models, each once, with commas between; or `ensemble`, or `cascade`"),
    (causes.NotInstalled, 503, "Tell the operator: the command in `detail` installs the model"),
    (causes.WeightsError, 503, "Tell the operator: a detector's weights are missing or altered"),
    (UnknownJob, 404, "See GET /v1/jobs for yours"),
    (WrongToken, 404, "Ask for a new address: it is in the answer to what was asked"),
    (ExpiredToken, 410, "Ask for a new address: it is in the answer to what was asked"),
    (NotStored, 404, "It was deleted, has expired, or is not yours: list what there is"),
    (NoSuchArtifact, 404, "The file was erased, or its time is over"),
    (StorageFull, 507, "Tell the operator: the artefact store is full"),
    (StorageUnavailable, 503, "Try again after the seconds in Retry-After"),
    (ArtifactsError, 500, "Tell the operator"),
    (AddressNotAllowed, 403, "Upload the media instead, or ask the operator to allow the address"),
    (AddressFailed, 422, "Check that the address can be fetched from the public internet, or upload the media instead"),
    (NoSuchUpload, 404, "Ask for a new place: POST /v1/uploads"),
    (UploadMissing, 409, "PUT the file to the address of its place, then ask again"),
    (UploadTooLarge, 413, "Send a shorter part, or encode it at a lower bit rate"),
    (WrongKeyOptions, 422, "Change what `detail` names"),
    (causes.Overloaded, 503, "Try again after the seconds in Retry-After"),
    (DatabaseUnavailable, 503, "Try again after the seconds in Retry-After"),
    (DatabaseError, 503, "Tell the operator: the database's tables do not fit this version"),
)
# Causes that may pass: the client is told when to come again.
PASSING = (causes.Overloaded, DatabaseUnavailable, StorageUnavailable, StorageFull)


class ApiError(Exception):
    """An answer other than success, raised anywhere below a route.

    Args:
        status: HTTP status code.
        code: short name of the cause, stable; the last part of `type`.
        detail: one sentence that names what was wrong.
        suggestions: what the client can do.
        headers: of the response.
        extra: further members of the body.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        suggestions: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, code, detail)
        self.status, self.code, self.detail = status, code, detail
        self.suggestions, self.headers, self.extra = list(suggestions), dict(headers or {}), dict(extra or {})


def timestamp(moment: datetime | None = None) -> str:
    """A moment, or now: RFC 3339 in UTC."""
    return (moment or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def request_id(scope: Scope) -> str:
    """The id that the request-id middleware gave this request."""
    return str(scope.get("state", {}).get("request_id", ""))


def route_path(scope: Scope) -> str:
    """A request's path as the routes have it: below the prefix that the application is mounted at, if it is at one."""
    path, prefix = str(scope.get("path", "")), str(scope.get("root_path", ""))
    return path.removeprefix(prefix) if path == prefix or path.startswith(prefix + "/") else path


def problem_body(error: ApiError, path: str, request: str) -> dict[str, Any]:
    """The body of an error that arose on a path, under a request's id."""
    title = _title(error)
    return {
        "type": f"urn:unmask:error:{error.code}",
        "title": title,
        "status": error.status,
        "detail": error.detail,
        "instance": path,
        "code": error.code,
        "request_id": request,
        "error": title,
        "message": error.detail,
        "suggestions": error.suggestions,
        "timestamp": timestamp(),
        **error.extra,
    }


def problem_response(error: ApiError, scope: Scope) -> Response:
    """The body and headers of an error; on the routes of older services in their shape, see `seed_errors`."""
    refusal = Refusal(route_path(scope), error.status, error.code, error.detail, timestamp(), error.extra)
    headers = ({"Retry-After": LATER_S[error.status]} if error.status in LATER_S else {}) | error.headers
    if answer := seed_answer(refusal):
        status, older = answer
        return JSONResponse(older, status, headers)
    body = problem_body(error, scope.get("path", ""), request_id(scope))
    return JSONResponse(body, error.status, headers, media_type="application/problem+json")


def from_cause(error: causes.UnmaskError, available_models: Sequence[str] = ()) -> ApiError:
    """What is answered for an error of `models`."""
    for kind, status, advice in _ANSWERS:
        if isinstance(error, kind):
            unknown = isinstance(error, causes.UnknownModel)
            return ApiError(
                status,
                error.code,
                str(error),
                suggestions=[advice, *(["See GET / for the models"] if unknown else [])],
                headers={"Retry-After": RETRY_AFTER_S} if isinstance(error, PASSING) else {},
                extra={"available_models": list(available_models)} if unknown else {},
            )
    LOGGER.error("no answer is mapped for %s: %s", type(error).__name__, error)
    return ApiError(500, error.code, "The analysis failed.", suggestions=["Try again"])


async def on_api_error(request: Request, error: Exception) -> Response:
    """Handler of `ApiError`."""
    assert isinstance(error, ApiError)
    return problem_response(error, request.scope)


async def on_cause(request: Request, error: Exception) -> Response:
    """Handler of `UnmaskError` that a route let pass."""
    assert isinstance(error, causes.UnmaskError)
    return problem_response(from_cause(error), request.scope)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Handler of starlette's own errors: no such route, wrong method."""
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).name.lower()
    suggestions = ["The routes are listed at /docs"] if error.status_code == HTTPStatus.NOT_FOUND else []
    answer = ApiError(error.status_code, code, str(error.detail), suggestions=suggestions, headers=error.headers)
    return problem_response(answer, request.scope)


async def on_invalid_request(request: Request, error: Exception) -> Response:
    """Handler of parameters that do not fit the schema."""
    assert isinstance(error, RequestValidationError)
    wrong = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
    return problem_response(ApiError(422, "invalid_request", wrong), request.scope)


async def on_unexpected(request: Request, error: Exception) -> Response:
    """Handler of everything else: logged whole, told apart by its request id, nothing internal disclosed."""
    LOGGER.error("unexpected error, request %s", request_id(request.scope), exc_info=error)
    answer = ApiError(500, "internal_error", "The service failed.", suggestions=["Try again", "Report the request_id"])
    return problem_response(answer, request.scope)


def _title(error: ApiError) -> str:
    if error.code == causes.UnknownModel.code:
        return "Model not found"  # the words that the older service's clients match
    return error.code.replace("_", " ").capitalize()
