"""What is sent: media and fields as a multipart form, in pieces, as often as needed."""

import io
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

PIECE_BYTES = 256 * 1024
FIELD = "video"  # of the form; the service takes media of whatever kind there

Media = Path | str | bytes | IO[bytes]
OnUpload = Callable[[int, int], None]


class Body(Protocol):
    """The body of a request."""

    @property
    def headers(self) -> dict[str, str]:
        """Content type and length."""

    def pieces(self, on_progress: OnUpload | None) -> Iterator[bytes]:
        """The bytes, from the start at every call; `on_progress` hears how many bytes of media left, of how many."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a form: it can be read more than once, as a request may have to be sent again.

    Args:
        media: a path, the bytes themselves, or an open binary file that can be sought in.
    """

    media: Media

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        given = self.media if isinstance(self.media, (str, Path)) else getattr(self.media, "name", "")
        return Path(given).name if isinstance(given, (str, Path)) else ""

    def size_bytes(self) -> int:
        """How long it is; raises `OSError` if it cannot be read."""
        if isinstance(self.media, bytes):
            return len(self.media)
        with self.opened() as file:
            start = file.tell()
            end = file.seek(0, io.SEEK_END)
            file.seek(start)
            return end

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The media from its first byte. A file that the caller opened stays open."""
        if isinstance(self.media, bytes):
            yield io.BytesIO(self.media)
        elif isinstance(self.media, (str, Path)):
            with Path(self.media).open("rb") as file:
                yield file
        else:
            self.media.seek(0)
            yield self.media


@dataclass(slots=True)
class Sent:
    """Counts what left."""

    total_bytes: int
    tell: OnUpload | None
    sent_bytes: int = 0

    def more(self, count: int) -> None:
        """So many bytes more."""
        self.sent_bytes += count
        if self.tell:
            self.tell(self.sent_bytes, self.total_bytes)


def sent(part: Part, count: Sent) -> Iterator[bytes]:
    """A file's pieces; each is counted once the next one is asked for, when it has left."""
    with part.opened() as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
            count.more(len(piece))


@dataclass(frozen=True, slots=True)
class Form:
    """`multipart/form-data` (RFC 7578) of files and fields."""

    parts: Sequence[Part]
    fields: Mapping[str, str] = field(default_factory=dict)
    boundary: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def headers(self) -> dict[str, str]:
        """Its length is told before it is sent, so that a body over the limit is refused at once."""
        heads = sum(len(self._head(part)) + len(b"\r\n") + part.size_bytes() for part in self.parts)
        length = len(self._fields()) + heads + len(self._end())
        return {"Content-Type": f"multipart/form-data; boundary={self.boundary}", "Content-Length": str(length)}

    def pieces(self, on_progress: OnUpload | None) -> Iterator[bytes]:
        """The form. Fields go first, so that a wrong one is refused before the media is sent."""
        count = Sent(sum(part.size_bytes() for part in self.parts), on_progress)
        if fields := self._fields():
            yield fields
        for part in self.parts:
            yield self._head(part)
            yield from sent(part, count)
            yield b"\r\n"
        yield self._end()

    def _fields(self) -> bytes:
        return b"".join(
            self._line(f'Content-Disposition: form-data; name="{_quoted(name)}"') + value.encode() + b"\r\n"
            for name, value in self.fields.items()
        )

    def _head(self, part: Part) -> bytes:
        names = f'name="{FIELD}"; filename="{_quoted(part.name or "media")}"'
        return self._line(f"Content-Disposition: form-data; {names}\r\nContent-Type: application/octet-stream")

    def _line(self, headers: str) -> bytes:
        return f"--{self.boundary}\r\n{headers}\r\n\r\n".encode("utf-8", "replace")

    def _end(self) -> bytes:
        return f"--{self.boundary}--\r\n".encode()


@dataclass(frozen=True, slots=True)
class Raw:
    """One file as the body itself."""

    part: Part

    @property
    def headers(self) -> dict[str, str]:
        """Its length; no type, which a signed address may not allow for."""
        return {"Content-Length": str(self.part.size_bytes())}

    def pieces(self, on_progress: OnUpload | None) -> Iterator[bytes]:
        """The file."""
        yield from sent(self.part, Sent(self.part.size_bytes(), on_progress))


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON object."""

    content: Mapping[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        """Content type and length."""
        return {"Content-Type": "application/json", "Content-Length": str(len(self._bytes()))}

    def pieces(self, on_progress: OnUpload | None) -> Iterator[bytes]:  # noqa: ARG002 - it holds no media
        """The object in one piece."""
        yield self._bytes()

    def _bytes(self) -> bytes:
        return json.dumps(self.content).encode()


def form(media: Media | Iterable[Media], **fields: str) -> Form:
    """A form of one or several media, and of those fields that are not empty."""
    several = [media] if isinstance(media, (str, bytes, Path, io.IOBase)) or hasattr(media, "read") else media
    return Form([Part(one) for one in several], {name: value for name, value in fields.items() if value})  # type: ignore[arg-type]


def _quoted(name: str) -> str:
    """A name inside quotes, escaped as browsers do (WHATWG HTML, multipart/form-data encoding)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
