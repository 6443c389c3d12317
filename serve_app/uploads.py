"""Receiving a body: streamed to unlinked temporary files under a cap, hashed on the way, never whole in memory.

A body is a form with one file or several, or the media itself under its own content type.
"""

import asyncio
import errno
import hashlib
import re
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Self
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from serve_app.errors import ApiError
from serve_app.forms import OVERHEAD_BYTES, Form
from serve_app.idempotency import claim

FILE_FIELDS = ("video", "media", "file")
MAX_NAME_CHARACTERS = 255
RAW = re.compile(r"(video|audio|image)/[\w.+-]+|application/octet-stream")
ENCODED_NAME = re.compile(r"filename\*\s*=\s*utf-8'[\w-]*'([^;\s]+)", re.IGNORECASE)
DIGITS = re.compile(r"[0-9]{1,18}")
RETRY_FULL_S, RETRY_BUSY_S = "30", "2"


@dataclass(slots=True)
class Upload:
    """A received file. Its bytes vanish when `file` is closed.

    Attributes:
        file: at position 0.
        filename: the last part of the sent name, without control characters; 255 characters at most.
        fields: the small fields of the form that it came in.
        sha256: of its bytes, in hexadecimal; not set where it is over the limit.
        size_bytes: of the file; where it is over the limit, of what was sent.
        receive_s: seconds from the first byte of the body to the last.
        form_field: the form's field that it came in; empty for a body that is the media itself.
        over_limit: it is larger than one file may be, and its bytes were not kept.
    """

    file: IO[bytes]
    filename: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    sha256: str = ""
    size_bytes: int = 0
    receive_s: float = 0.0
    form_field: str = ""
    over_limit: bool = False


@dataclass(slots=True)
class Uploads:
    """The files of one body, in the order sent, and the form's small fields. As a context manager it closes them."""

    files: list[Upload]
    fields: dict[str, str]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for upload in self.files:
            upload.file.close()


@dataclass(frozen=True, slots=True)
class Intake:
    """What a route takes.

    Attributes:
        max_bytes: cap on each file. Alone, a larger one is refused; among several it is marked and fails alone.
        timeout_s: cap on the time the body takes to arrive.
        fields: of a form, in which files may be.
        max_files: how many.
        max_body_bytes: cap on all files together; by default that on one.
    """

    max_bytes: int
    timeout_s: float
    fields: tuple[str, ...] = FILE_FIELDS
    max_files: int = 1
    max_body_bytes: int = 0

    @property
    def body_bytes(self) -> int:
        """Cap on all files together."""
        return max(self.max_body_bytes, self.max_bytes)


class _Basket:
    """Takes in the files of one body."""

    def __init__(self, intake: Intake) -> None:
        self.files: list[Upload] = []
        self._intake = intake
        self._hash = hashlib.sha256()

    def begin(self, field: str, filename: str) -> None:
        if field and field not in self._intake.fields:
            raise _unexpected_file(field, self._intake)
        if len(self.files) >= self._intake.max_files:
            raise _too_many_files(self._intake)
        self._end()
        file = tempfile.TemporaryFile(prefix="unmask-")  # noqa: SIM115 - closed by the caller, or by `receive_all`
        self.files.append(Upload(file, base_name(filename), form_field=field))
        self._hash = hashlib.sha256()

    def write(self, piece: memoryview) -> None:
        upload = self.files[-1]
        upload.size_bytes += len(piece)
        if upload.size_bytes <= self._intake.max_bytes:
            self._hash.update(piece)
            upload.file.write(piece)
        elif self._intake.max_files == 1:
            raise too_large(self._intake.max_bytes)
        elif not upload.over_limit:
            upload.over_limit = True
            upload.file.seek(0)
            upload.file.truncate()

    def finish(self, fields: dict[str, str], receive_s: float) -> Uploads:
        """What was taken in, ready to be read."""
        if not self.files:
            raise _no_file(self._intake)
        self._end()
        for upload in self.files:
            upload.file.flush()
            upload.file.seek(0)
            upload.fields, upload.receive_s = fields, receive_s
        return Uploads(self.files, fields)

    def close(self) -> None:
        for upload in self.files:
            upload.file.close()

    def _end(self) -> None:
        if self.files and not self.files[-1].over_limit:
            self.files[-1].sha256 = self._hash.hexdigest()


class _Raw:
    """A body that is the media itself."""

    def __init__(self, filename: str, basket: _Basket) -> None:
        self.fields: dict[str, str] = {}
        self._basket = basket
        basket.begin("", filename)

    def write(self, chunk: bytes) -> None:
        self._basket.write(memoryview(chunk))

    def check(self) -> None:
        """It has no end of its own."""


async def receive(
    request: Request, max_bytes: int, timeout_s: float, *, fields: tuple[str, ...] = FILE_FIELDS
) -> Upload:
    """Receive a request's one file.

    Args:
        request: `multipart/form-data` with the file, of whatever kind, in one of `fields`; or the media itself, with
            a content type of `video/*`, `audio/*`, `image/*` or `application/octet-stream`, and its name in
            `Content-Disposition` or `?filename=`.
        max_bytes: cap on the file.
        timeout_s: cap on the time the body takes to arrive.
        fields: names of the form's field in which the file may be.

    Returns:
        The upload, its file at position 0; the caller closes it.

    Raises:
        ApiError: 400 (malformed, no file, too many fields), 408, 413, 415, 503 or 507, each naming its cause; 409 or
            422 for its idempotency key.
        Replayed: its idempotency key was answered before.
    """
    received = await receive_all(request, Intake(max_bytes, timeout_s, fields))
    return received.files[0]


async def receive_all(request: Request, intake: Intake) -> Uploads:
    """Receive a request's files: at least one. Otherwise as `receive`; the caller closes them."""
    if declared_bytes(request) > intake.body_bytes + OVERHEAD_BYTES:
        raise too_large(intake.body_bytes)
    started = time.monotonic()
    basket = _Basket(intake)
    try:
        with failures():
            body = _body(request, intake, basket)
            async with asyncio.timeout(intake.timeout_s):
                await _feed(body, request.stream(), intake.body_bytes)
            received = basket.finish(body.fields, time.monotonic() - started)
            body.check()
        await claim(request, [(file.filename, file.size_bytes, file.sha256) for file in received.files], body.fields)
    except BaseException:
        basket.close()
        raise
    return received


async def keep(pieces: AsyncIterator[bytes], filename: str, max_bytes: int, timeout_s: float) -> Upload:
    """Media that does not come as a body, received in the same way; the caller closes it.

    Raises:
        ApiError: 408, 413, 503 or 507; and what `pieces` raises.
    """
    started = time.monotonic()
    basket = _Basket(Intake(max_bytes, timeout_s))
    try:
        with failures():
            basket.begin("", filename)
            async with asyncio.timeout(timeout_s):
                async for piece in pieces:
                    basket.write(memoryview(piece))
            return basket.finish({}, time.monotonic() - started).files[0]
    except BaseException:
        basket.close()
        raise


async def _feed(body: Form | _Raw, chunks: AsyncIterator[bytes], max_bytes: int) -> None:
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if received > max_bytes + OVERHEAD_BYTES:
            raise too_large(max_bytes)
        if chunk:
            body.write(chunk)


def _body(request: Request, intake: Intake, basket: _Basket) -> Form | _Raw:
    """What takes the body apart, by its content type."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"multipart/form-data" and options.get(b"boundary"):
        return Form(options[b"boundary"], basket)
    if RAW.fullmatch(kind.decode("latin-1")):
        return _Raw(_raw_name(request), basket)
    raise ApiError(
        415,
        "not_a_form",
        "The body is neither multipart/form-data nor of a content type of media.",
        suggestions=[_as_curl(intake), "Or send the file itself, with a content type such as video/mp4"],
    )


def _raw_name(request: Request) -> str:
    """The name of a body that is the media itself."""
    disposition = request.headers.get("content-disposition", "")
    if encoded := ENCODED_NAME.search(disposition):
        return unquote(encoded[1], errors="replace")
    _, options = parse_options_header(disposition)
    return options.get(b"filename", b"").decode("utf-8", "replace") or request.query_params.get("filename", "")


def base_name(filename: str) -> str:
    """The last part of a sent name, without control characters: it is data, and never names a file of ours."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "", last)[:MAX_NAME_CHARACTERS]


def declared_bytes(request: Request) -> int:
    """The length that a request says its body has, or 0; raises `ApiError` (400) if it is no number."""
    declared = request.headers.get("content-length", "0")
    if not DIGITS.fullmatch(declared):
        raise ApiError(400, "malformed_request", "Content-Length is not a number.")
    return int(declared)


@contextmanager
def failures() -> Iterator[None]:
    """Everything that can go wrong while a body arrives, as an `ApiError`."""
    try:
        yield
    except TimeoutError:
        raise ApiError(408, "upload_timeout", "The body took too long to arrive.") from None
    except FormParserError as error:
        raise ApiError(400, "malformed_form", f"The form cannot be read: {error}.") from None
    except ClientDisconnect:
        raise ApiError(499, "client_closed_request", "The client went away.") from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ApiError(
                507, "storage_full", "There is no room to receive the file.", headers={"Retry-After": RETRY_FULL_S}
            ) from None
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            raise ApiError(
                503, "busy", "As many files are being received as can be.", headers={"Retry-After": RETRY_BUSY_S}
            ) from None
        raise


def too_large(max_bytes: int) -> ApiError:
    """The answer to a body over the cap."""
    return ApiError(
        413,
        "body_too_large",
        f"The file is larger than {max_bytes / 2**20:g} MiB ({max_bytes} bytes).",
        suggestions=["Send a shorter part, or encode it at a lower bit rate"],
    )


def _as_curl(intake: Intake) -> str:
    return f'Send the file as curl does: curl -F "{intake.fields[0]}=@clip.mp4"'


def _no_file(intake: Intake) -> ApiError:
    return ApiError(
        400,
        "missing_file",
        f"The form has no file in the field {intake.fields[0]!r}.",
        suggestions=[_as_curl(intake)],
    )


def _too_many_files(intake: Intake) -> ApiError:
    one = intake.max_files == 1
    return ApiError(
        400,
        "too_many_files",
        "The form has more than one file; send one a request."
        if one
        else f"The form has more than {intake.max_files} files.",
        suggestions=["Send several files to /analyze/batch"] if one else ["Send the others in another request"],
    )


def _unexpected_file(name: str, intake: Intake) -> ApiError:
    return ApiError(
        400,
        "unexpected_file",
        f"The file is in the field {name[:64]!r}.",
        suggestions=[f"Send it in one of: {', '.join(intake.fields)}"],
    )
