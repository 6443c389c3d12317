"""Files that are none: one that is read a second time at its own position, one that is written into memory."""

import io
import os
from collections.abc import Iterator
from typing import IO

PIECE_BYTES = 256 * 1024  # of what is handed out: large enough to be cheap, small enough to be soon
_READ_BYTES = 1 << 20


def reread(file: IO[bytes]) -> IO[bytes]:
    """A real file once more, with a position of its own: pictures and sound can be read in turns."""
    return io.BufferedReader(_Positioned(file), _READ_BYTES)


class _Positioned(io.RawIOBase):
    def __init__(self, file: IO[bytes]) -> None:
        self._fd, self._at = file.fileno(), 0
        was = file.tell()
        self._size_bytes = file.seek(0, os.SEEK_END)  # not fstat: the confined child may not ask for it
        file.seek(was)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # any buffer, says the stub
        data = os.pread(self._fd, len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size_bytes}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def tell(self) -> int:
        return self._at


class Sink:
    """What a muxer writes into; it cannot go back, so that what was taken out stays true."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> Iterator[bytes]:
        """What was written since the last time, in pieces."""
        data = b"".join(self._parts)
        self._parts.clear()
        yield from cut(data)


def cut(data: bytes) -> Iterator[bytes]:
    """Bytes in pieces."""
    yield from (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))
