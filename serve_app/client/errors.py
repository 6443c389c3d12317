"""Every error of the client. They mirror the service's problem types: the class is chosen by `code`, else by status.

ServiceError
+-- Unreachable             no answer: nobody listens there, the connection broke, it took too long
+-- Unauthenticated         the key is missing, wrong, revoked or expired (401)
+-- MissingScope            the key may not do this (403)
+-- NotFound                there is no such thing, or it belongs to somebody else (404)
|   +-- UnknownModel        no model of that name; `available_models` are those there are
+-- InvalidRequest          the request is malformed or contradicts itself (other 4xx)
|   +-- WrongSelection      a list of models names one twice, or a mode among them
|   +-- BodyTooLarge        the file is over the service's limit
|   +-- UploadTimeout       the body took too long to arrive
|   +-- IdempotencyKeyReused  the key was used before, for another request
+-- MediaError              what was sent cannot be analysed
|   +-- EmptyMedia, UnsupportedMedia, TruncatedMedia, CorruptMedia, NoVideoStream, MediaLimitExceeded,
|   +-- DecoderCrashed, DecoderTimeout, DecoderOutOfMemory
+-- StillRunning            the same request is under way, and was not answered within the client's patience
+-- RateLimited             the key's limit is used up; `retry_after_s` says for how long
+-- Unavailable             the service cannot do it now (5xx)
|   +-- Overloaded          it has as much to do as it accepts
|   +-- NotInstalled        the model's weights are not there
|   +-- WeightsError        a detector's weights are missing or altered
|   +-- DatabaseUnavailable, StorageUnavailable, StorageFull
|   +-- AnalysisTimeout     the analysis took longer than the service allows
|   +-- JobAbandoned        a job was begun several times and never finished
+-- Cancelled               the work was cancelled
+-- UnreadableAnswer        an answer is not what the interface says: another service, or another version of it
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import httpx

INVALID_FROM, FAILED_FROM = 400, 500


class ServiceError(Exception):
    """The service refused or failed, or could not be reached.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        code: the error's short name.
        detail: one sentence.
        problem: the whole body of the answer (RFC 9457), empty if there was none.
        retry_after_s: after how many seconds the service wants to be asked again; None if it did not say.
        tries: how often the request was sent.
    """

    codes: ClassVar[tuple[str, ...]] = ()
    http_status: ClassVar[int] = 0

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        problem: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(status, code, detail)
        self.status, self.code, self.detail = status, code, detail
        self.problem = dict(problem or {})
        self.retry_after_s = retry_after_s
        self.tries = 1

    def __str__(self) -> str:
        return self.detail

    @property
    def suggestions(self) -> list[str]:
        """What the service advises."""
        return [str(line) for line in self.problem.get("suggestions", [])]

    @property
    def request_id(self) -> str:
        """The id that finds this request in the service's log."""
        return str(self.problem.get("request_id", ""))


class Unreachable(ServiceError):
    """There was no answer."""

    codes: ClassVar[tuple[str, ...]] = ("unreachable",)


class Unauthenticated(ServiceError):
    """The key is missing, wrong, revoked or expired."""

    codes: ClassVar[tuple[str, ...]] = ("missing_key", "wrong_key")
    http_status = 401


class MissingScope(ServiceError):
    """The key may not do this."""

    codes: ClassVar[tuple[str, ...]] = ("missing_scope",)
    http_status = 403


class NotFound(ServiceError):
    """There is no such thing, or it belongs to somebody else."""

    http_status = 404


class UnknownModel(NotFound):
    """No model of that name."""

    codes: ClassVar[tuple[str, ...]] = ("unknown_model",)

    @property
    def available_models(self) -> list[str]:
        """The models there are."""
        return [str(name) for name in self.problem.get("available_models", [])]


class InvalidRequest(ServiceError):
    """The request is malformed or contradicts itself."""

    codes: ClassVar[tuple[str, ...]] = ("invalid_request",)
    http_status = 400


class WrongSelection(InvalidRequest):
    """A list of models names one twice, or a mode among them."""

    codes: ClassVar[tuple[str, ...]] = ("wrong_selection",)


class BodyTooLarge(InvalidRequest):
    """The file is over the service's limit."""

    codes: ClassVar[tuple[str, ...]] = ("body_too_large",)
    http_status = 413


class UploadTimeout(InvalidRequest):
    """The body took too long to arrive."""

    codes: ClassVar[tuple[str, ...]] = ("upload_timeout",)
    http_status = 408


class IdempotencyKeyReused(InvalidRequest):
    """The idempotency key was used before, for another request."""

    codes: ClassVar[tuple[str, ...]] = ("idempotency_key_reused",)


class MediaError(ServiceError):
    """What was sent cannot be analysed."""

    codes: ClassVar[tuple[str, ...]] = ("media_error",)
    http_status = 422


class EmptyMedia(MediaError):
    """There are no bytes."""

    codes: ClassVar[tuple[str, ...]] = ("empty_media",)


class UnsupportedMedia(MediaError):
    """The container or codec is not accepted, or the bytes are no media."""

    codes: ClassVar[tuple[str, ...]] = ("unsupported_media",)


class TruncatedMedia(MediaError):
    """The file ends before its own index says."""

    codes: ClassVar[tuple[str, ...]] = ("truncated_media",)


class CorruptMedia(MediaError):
    """The right format, but nothing could be decoded."""

    codes: ClassVar[tuple[str, ...]] = ("corrupt_media",)


class NoVideoStream(MediaError):
    """There are neither pictures nor sound in the file."""

    codes: ClassVar[tuple[str, ...]] = ("no_video_stream",)


class MediaLimitExceeded(MediaError):
    """More pixels, seconds or frames than allowed; `code` says which."""

    codes: ClassVar[tuple[str, ...]] = ("media_limit_exceeded", "too_many_pixels", "too_long", "too_many_frames")


class DecoderCrashed(MediaError):
    """The process that reads media died on this file."""

    codes: ClassVar[tuple[str, ...]] = ("decoder_crashed",)


class DecoderTimeout(MediaError):
    """Reading the file took too long."""

    codes: ClassVar[tuple[str, ...]] = ("decoder_timeout",)


class DecoderOutOfMemory(MediaError):
    """Reading the file took too much memory."""

    codes: ClassVar[tuple[str, ...]] = ("decoder_out_of_memory",)


class StillRunning(ServiceError):
    """The same request is under way."""

    codes: ClassVar[tuple[str, ...]] = ("still_running",)
    http_status = 409


class RateLimited(ServiceError):
    """The key's limit is used up."""

    codes: ClassVar[tuple[str, ...]] = ("rate_limited",)
    http_status = 429


class Unavailable(ServiceError):
    """The service cannot do it now."""

    http_status = 503


class Overloaded(Unavailable):
    """The service has as much to do as it accepts."""

    codes: ClassVar[tuple[str, ...]] = ("busy",)


class NotInstalled(Unavailable):
    """The model's weights are not there."""

    codes: ClassVar[tuple[str, ...]] = ("model_not_installed",)


class WeightsError(Unavailable):
    """A detector's weights are missing or altered."""

    codes: ClassVar[tuple[str, ...]] = ("weights_error",)


class DatabaseUnavailable(Unavailable):
    """The service's database is away."""

    codes: ClassVar[tuple[str, ...]] = ("database_unavailable",)


class StorageUnavailable(Unavailable):
    """The service's store of artefacts is away."""

    codes: ClassVar[tuple[str, ...]] = ("storage_unavailable",)


class StorageFull(Unavailable):
    """There is no room."""

    codes: ClassVar[tuple[str, ...]] = ("storage_full",)
    http_status = 507


class AnalysisTimeout(Unavailable):
    """The analysis took longer than the service allows."""

    codes: ClassVar[tuple[str, ...]] = ("analysis_timeout",)
    http_status = 504


class JobAbandoned(Unavailable):
    """A job was begun several times and never finished."""

    codes: ClassVar[tuple[str, ...]] = ("job_abandoned",)


class Cancelled(ServiceError):
    """The work was cancelled."""

    codes: ClassVar[tuple[str, ...]] = ("cancelled", "job_cancelled")


class UnreadableAnswer(ServiceError):
    """An answer is not what the interface says."""

    codes: ClassVar[tuple[str, ...]] = ("unreadable_answer",)


def _family(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _family(child)


_BY_CODE = {code: kind for kind in _family(ServiceError) for code in kind.codes}
_BY_STATUS: dict[int, type[ServiceError]] = {
    kind.http_status: kind for kind in reversed(list(_family(ServiceError))) if kind.http_status
}


def kind_of(code: str, status: int = 0) -> type[ServiceError]:
    """The class of an error by its code, else by its status."""
    if found := _BY_CODE.get(code) or _BY_STATUS.get(status):
        # What is wrong with media has codes; another 422 is wrong with the request.
        return InvalidRequest if found is MediaError and code not in MediaError.codes else found
    if status >= FAILED_FROM:
        return Unavailable
    return InvalidRequest if status >= INVALID_FROM else ServiceError


def from_problem(problem: Mapping[str, Any], retry_after_s: float | None = None) -> ServiceError:
    """The error that a problem body tells: of an answer, or of one file of a batch or a job."""
    code, status = str(problem.get("code", "")), int(problem.get("status", 0))
    detail = str(problem.get("detail", ""))
    return kind_of(code, status)(status, code, detail, problem=problem, retry_after_s=retry_after_s)


def from_code(code: str, detail: str) -> ServiceError:
    """The error of that code, raised without HTTP between: by a deployment handle."""
    kind = kind_of(code)
    return kind(kind.http_status, code, detail)


def from_response(response: httpx.Response) -> ServiceError:
    """The error that an answer other than success is."""
    after_s = retry_after_s(response.headers.get("retry-after", ""))
    try:
        problem = response.json()
        return from_problem({**problem, "status": response.status_code, "code": str(problem["code"])}, after_s)
    except (ValueError, KeyError, TypeError):
        # Proxies answer some errors themselves, in plain text.
        said = f"HTTP {response.status_code}: {response.text[:200]}"
        return kind_of("", response.status_code)(response.status_code, "http_error", said, retry_after_s=after_s)


def retry_after_s(value: str) -> float | None:
    """`Retry-After` (RFC 9110, 10.2.3) in seconds from now: it is a number, or a date; None if neither."""
    try:
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
