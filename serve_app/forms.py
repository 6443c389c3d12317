"""A multipart form, taken apart as it arrives. Files go to whoever takes them in, small fields to memory."""

from collections.abc import Callable
from typing import Protocol

from python_multipart.multipart import MultipartParser, parse_options_header

from serve_app.errors import ApiError

MAX_FIELDS = 8
MAX_FIELD_BYTES = 64 * 1024
MAX_HEADER_BYTES = 8 * 1024
OVERHEAD_BYTES = 64 * 1024  # boundaries, part headers and small fields beside the files


class Taker(Protocol):
    """Where files go."""

    def begin(self, field: str, filename: str) -> None:
        """A file begins, in that field of the form; raises `ApiError` if it is not wanted."""

    def write(self, piece: memoryview) -> None:
        """The next bytes of the file that began last."""


class Form:
    """One form. `fields` are its small fields by name."""

    def __init__(self, boundary: bytes, taker: Taker) -> None:
        self.complete = False
        self.fields: dict[str, str] = {}
        self._taker = taker
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
        """Take the next bytes of the body; raises `FormParserError` where it is no form."""
        self._parser.write(chunk)

    def check(self) -> None:
        """Raises unless the closing boundary came."""
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
        if self._is_file:
            self._taker.begin(self._name, options[b"filename"].decode("utf-8", "replace"))
        elif len(self.fields) >= MAX_FIELDS:
            raise ApiError(400, "too_many_fields", f"The form has more than {MAX_FIELDS} fields.")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = memoryview(data)[start:end]
        if self._is_file:
            self._taker.write(part)
            return
        self._value.extend(part)
        if len(self._value) > MAX_FIELD_BYTES:
            raise ApiError(400, "field_too_large", f"The field {self._name[:64]!r} is over {MAX_FIELD_BYTES} bytes.")

    def _end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _finish(self) -> None:
        self.complete = True
