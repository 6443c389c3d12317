"""Frame slots in memory shared with one child. Each job has its own: no pixel of one user is mapped for another."""

import fcntl
import mmap
import os

import numpy as np
from numpy.typing import NDArray

SLOTS = 4  # two to overlap decoding with the consumer, two more to even out slow and fast frames

_F_ADD_SEALS = 1033
_SEAL_SIZE = 0x1 | 0x2 | 0x4  # F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW (linux/fcntl.h)


class Ring:
    """`SLOTS` slots of equal size. Pages take memory only once they are written.

    Attributes:
        fd: descriptor of the shared memory.
    """

    def __init__(self, fd: int, slot_bytes: int) -> None:
        self.fd = fd
        self._slot_bytes = slot_bytes
        self._map = mmap.mmap(fd, SLOTS * slot_bytes)

    @classmethod
    def create(cls, slot_bytes: int) -> "Ring":
        """A new ring. Its size is sealed: a child that shrank it would kill the parent with SIGBUS."""
        fd = os.memfd_create("unmask-ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, SLOTS * slot_bytes)
            fcntl.fcntl(fd, _F_ADD_SEALS, _SEAL_SIZE)
            return cls(fd, slot_bytes)
        except BaseException:
            os.close(fd)
            raise

    def pixels(self, slot: int, height: int, width: int) -> NDArray[np.uint8]:
        """The slot as `(height, width, 3)` uint8.

        Raises:
            ValueError: there is no such slot, or the picture does not fit in it.
        """
        return self._bytes(slot, height * width * 3).reshape(height, width, 3)

    def samples(self, slot: int, count: int) -> NDArray[np.float32]:
        """The slot as `(count,)` float32. Raises ValueError as `pixels` does."""
        return self._bytes(slot, count * 4).view(np.float32)

    def raw(self, slot: int, count: int) -> NDArray[np.uint8]:
        """The slot as `(count,)` uint8. Raises ValueError as `pixels` does."""
        return self._bytes(slot, count)

    def close(self) -> None:
        """Close the descriptor. The memory goes when the last view of it goes."""
        os.close(self.fd)

    def _bytes(self, slot: int, size_bytes: int) -> NDArray[np.uint8]:
        if not (0 <= slot < SLOTS and 0 < size_bytes <= self._slot_bytes):
            raise ValueError(f"{size_bytes} bytes in slot {slot}: out of the ring")
        return np.frombuffer(self._map, np.uint8, size_bytes, slot * self._slot_bytes)
