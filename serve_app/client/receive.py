"""What comes back as a stream: files to a folder, and server-sent events."""

import errno
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import httpx

Target = Path | str | IO[bytes]


class Download:
    """Takes a file. Half a file is none: it gets its name with its last byte.

    Args:
        to: a path, a folder (the service names the file), or an open binary file.
    """

    def __init__(self, to: Target) -> None:
        self._to = to
        self._file: IO[bytes] | None = None
        self._written = False
        self.path: Path | None = None

    def begin(self, response: httpx.Response) -> bool:
        """Take an answer from its first byte, whatever came of an earlier one."""
        if not response.is_success:
            return False
        if not isinstance(self._to, (str, Path)):
            self._restart(self._to)
            self._file = self._to
            return True
        self.discard()
        to = Path(self._to)
        self.path = to / (named(response) or "answer") if to.is_dir() else to
        self._file = tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=".unmask-", delete=False)  # noqa: SIM115
        return True

    def _restart(self, file: IO[bytes]) -> None:
        if file.seekable():
            file.seek(0)
            file.truncate()
        elif self._written:
            raise OSError(errno.ESPIPE, "The answer broke off, and what was written cannot be taken back")

    def write(self, piece: bytes) -> bool:
        """Take a piece."""
        assert self._file
        self._file.write(piece)
        self._written = True
        return False

    def finish(self) -> None:
        """The file is whole."""
        if self.path and self._file:
            self._file.close()
            Path(self._file.name).chmod(0o644)
            Path(self._file.name).replace(self.path)
            self._file = None

    def discard(self) -> None:
        """Leave nothing behind."""
        if self.path and self._file:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
            self._file = None


@contextmanager
def downloading(to: Target) -> Iterator[Download]:
    """A download that is whole at the end, or gone."""
    download = Download(to)
    try:
        yield download
        download.finish()
    finally:
        download.discard()


def named(response: httpx.Response) -> str:
    """The name in `Content-Disposition` (RFC 6266), without any folder; empty if there is none."""
    said = response.headers.get("content-disposition", "")
    if extended := re.search(r"filename\*=utf-8''([^;]+)", said, re.IGNORECASE):
        name = unquote(extended[1])
    else:
        plain = re.search(r'filename="?([^";]+)', said, re.IGNORECASE)
        name = plain[1] if plain else ""
    name = re.sub(r"[\x00-\x1f\x7f]", "", name.replace("\\", "/")).rpartition("/")[2]
    return "" if name in {".", ".."} else name


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    name: str
    data: dict[str, Any]
    id: str


class Events:
    """Takes `text/event-stream` (WHATWG HTML, 9.2.6) and tells each event; `hear` says whether it has heard enough.

    Attributes:
        last_id: of the last event, with which a new stream resumes.
    """

    def __init__(self, hear: Callable[[Event], bool]) -> None:
        self._hear = hear
        self.last_id = ""
        self._rest = b""
        self._id, self._name = "", ""
        self._data: list[str] = []

    def begin(self, response: httpx.Response) -> bool:
        """Take a new stream."""
        self._rest = b""
        self._id, self._name = self.last_id, ""
        self._data.clear()
        return self.accepts(response)

    @staticmethod
    def accepts(response: httpx.Response) -> bool:
        """Whether an answer is a stream of events."""
        return response.is_success and response.headers.get("content-type", "").startswith("text/event-stream")

    def write(self, piece: bytes) -> bool:
        """Take a piece, which may end anywhere."""
        *lines, self._rest = re.split(rb"\r\n|\n|\r(?!\Z)", self._rest + piece)
        return any(self._line(line.decode("utf-8", "replace")) for line in lines)

    def _line(self, line: str) -> bool:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            return self._dispatch()
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        return False

    def _dispatch(self) -> bool:
        name, data = self._name or "message", "\n".join(self._data)
        self.last_id = self._id  # only now: an event that broke off is to be sent again
        self._name = ""
        self._data.clear()
        if not data:
            return False
        try:
            content = json.loads(data)
        except ValueError:
            content = data
        return self._hear(Event(name, content if isinstance(content, dict) else {"data": content}, self.last_id))
