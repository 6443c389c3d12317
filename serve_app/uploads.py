"""Receiving a body: streamed to an unlinked temporary file under a cap, hashed on the way, never whole in memory."""

import asyncio
import errno
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from serve_app.errors import ApiError

FILE_FIELDS = ("video", "media", "file")
MAX_FIELDS = 8
MAX_FIELD_BYTES = 64 * 1024
MAX_HEADER_BYTES = 8 * 1024
MULTIPART_OVERHEAD = 64 * 1024  # boundaries, part headers and small fields beside the file


@dataclass(slots=True)
class Upload:
    """A received file. Its bytes vanish when `file` is closed."""

    file: IO[bytes]
    filename: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    sha256: str = ""
    size_bytes: int = 0
    receive_s: float = 0.0


class _Form:
    """Takes a multipart body apart as it arrives. Part data goes to the file or, for small fields, to memory."""

    def __init__(self, upload: Upload, boundary: bytes, max_bytes: int) -> None:
        self.complete = False
        self.found_file = False
        self._upload, self._max_bytes = upload, max_bytes
        self._hash = hashlib.sha256()
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._name = ""
        self._is_file = False
        self._value = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_part(0),
                "on_header_value": self._header_part(1),
                "on_header_end": self._header_end,
                "on_headers_finished": self._open,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
            max_header_size=MAX_HEADER_BYTES,
        )

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        self._parser.write(chunk)

    def check(self) -> None:
        """Raises unless the whole body was a form with a file."""
        if not self.found_file:
            raise _no_file()
        if not self.complete:
            raise ApiError(400, "malformed_form", "The form ends before its closing boundary.")

    def _begin(self) -> None:
        self._disposition = b""
        self._value = bytearray()

    def _header_part(self, which: int) -> Callable[[bytes, int, int], None]:
        def take(data: bytes, start: int, end: int) -> None:
            self._header[which].extend(data[start:end])

        return take

    def _header_end(self) -> None:
        name, value = (bytes(part) for part in self._header)
        if name.lower() == b"content-disposition":
            self._disposition = value
        for part in self._header:
            part.clear()

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = b"filename" in options
        if self._is_file and (self._name not in FILE_FIELDS or self.found_file):
            raise _unexpected_file(self._name, self.found_file)
        if self._is_file:
            self.found_file = True
            self._upload.filename = options[b"filename"].decode("utf-8", "replace")[:255]
        elif len(self._upload.fields) >= MAX_FIELDS:
            raise ApiError(400, "too_many_fields", f"The form has more than {MAX_FIELDS} fields.")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = memoryview(data)[start:end]
        if not self._is_file:
            self._value.extend(part)
            if len(self._value) > MAX_FIELD_BYTES:
                raise ApiError(400, "field_too_large", f"The field {self._name!r} is over {MAX_FIELD_BYTES} bytes.")
            return
        self._upload.size_bytes += len(part)
        if self._upload.size_bytes > self._max_bytes:
            raise too_large(self._max_bytes)
        self._hash.update(part)
        self._upload.file.write(part)

    def _end(self) -> None:
        if not self._is_file:
            self._upload.fields[self._name] = self._value.decode("utf-8", "replace")

    def _finish(self) -> None:
        self.complete = True
        self._upload.sha256 = self._hash.hexdigest()


async def receive(request: Request, max_bytes: int, timeout_s: float) -> Upload:
    """Receive the one file of a multipart request.

    Args:
        request: `multipart/form-data` with the file, of whatever kind, in the field `video` (also `media` or `file`).
        max_bytes: cap on the file.
        timeout_s: cap on the time the body takes to arrive.

    Returns:
        The upload, its file at position 0; the caller closes it.

    Raises:
        ApiError: 400 (malformed, no file, too many fields), 408, 413, 415 or 507, each naming its cause.
    """
    boundary = _boundary(request)
    declared = int(request.headers.get("content-length") or 0)
    if declared > max_bytes + MULTIPART_OVERHEAD:
        raise too_large(max_bytes)
    started = time.monotonic()
    upload = Upload(tempfile.TemporaryFile(prefix="unmask-"))  # noqa: SIM115 - closed by the caller, or below
    form = _Form(upload, boundary, max_bytes)
    try:
        with _failures():
            async with asyncio.timeout(timeout_s):
                await _feed(form, request.stream(), max_bytes + MULTIPART_OVERHEAD)
        form.check()
    except BaseException:
        upload.file.close()
        raise
    upload.file.flush()
    upload.file.seek(0)
    upload.receive_s = time.monotonic() - started
    return upload


async def _feed(form: _Form, body: AsyncIterator[bytes], max_bytes: int) -> None:
    received = 0
    async for chunk in body:
        received += len(chunk)
        if received > max_bytes:
            raise too_large(max_bytes - MULTIPART_OVERHEAD)
        if chunk:
            form.write(chunk)


@contextmanager
def _failures() -> Iterator[None]:
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
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise ApiError(
            507, "storage_full", "There is no room to receive the file.", headers={"Retry-After": "30"}
        ) from None


def too_large(max_bytes: int) -> ApiError:
    """The answer to a body over the cap."""
    return ApiError(
        413,
        "body_too_large",
        f"The file is larger than {max_bytes / 2**20:g} MiB ({max_bytes} bytes).",
        suggestions=["Send a shorter part, or encode it at a lower bit rate"],
    )


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise ApiError(
            415,
            "not_a_form",
            "The body is not multipart/form-data.",
            suggestions=['Send the file as curl does: curl -F "video=@clip.mp4"'],
        )
    return options[b"boundary"]


def _no_file() -> ApiError:
    return ApiError(
        400,
        "missing_file",
        f"The form has no file in the field {FILE_FIELDS[0]!r}.",
        suggestions=['Send the file as curl does: curl -F "video=@clip.mp4"'],
    )


def _unexpected_file(name: str, second: bool) -> ApiError:
    if second:
        return ApiError(400, "too_many_files", "The form has more than one file; send one a request.")
    return ApiError(
        400,
        "unexpected_file",
        f"The file is in the field {name[:64]!r}.",
        suggestions=[f"Send it in one of: {', '.join(FILE_FIELDS)}"],
    )
