"""Media as a file descriptor that can be handed to another process."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import EmptyMedia
from models.media.sniff import HEAD_BYTES, container_of

Source = bytes | bytearray | memoryview | NDArray[np.uint8] | str | Path
"""A path, or the media itself: bytes, or a `(N,) uint8` array such as Ray hands out from its object store."""


def open_source(source: Source) -> int:
    """A descriptor that reads the media from its beginning. The caller closes it.

    Bytes are copied once into anonymous memory: a child must not be able to write to, or outlive, the object store.

    Raises:
        EmptyMedia: there are no bytes.
        UnsupportedMedia: the first bytes are those of no accepted container; no child is started for these.
        OSError: the path cannot be opened.
    """
    fd = _open_path(source) if isinstance(source, str | Path) else _copied(source)
    try:
        container_of(os.pread(fd, HEAD_BYTES, 0))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_path(path: str | Path) -> int:
    # O_NONBLOCK: opening a named pipe must not wait for its writer. Regular files do not mind.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if os.path.isfile(fd):  # noqa: PTH113 (a descriptor, not a path)
        return fd
    os.close(fd)
    raise EmptyMedia(f"{Path(path).name} is not a file.")


def _copied(data: bytes | bytearray | memoryview | NDArray[np.uint8]) -> int:
    view = memoryview(data).cast("B")  # type: ignore[arg-type] # numpy arrays are buffers; their stubs say so from 3.12
    container_of(bytes(view[:HEAD_BYTES]))
    fd = os.memfd_create("unmask-media", os.MFD_CLOEXEC)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except BaseException:
        os.close(fd)
        raise
    return fd
