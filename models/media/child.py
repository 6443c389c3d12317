"""The confined child: forked by the zygote for one job, it decodes into the ring and exits."""

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from io import BufferedReader
from typing import Any

from models.errors import CorruptMedia, UnmaskError
from models.media import seccomp
from models.media.decode import decode, out_of_memory
from models.media.facts import Event, Frame, Piece, Probe, Request, Sound
from models.media.limits import Limits
from models.media.manifest import load, read_manifest
from models.media.picture import copy_pixels
from models.media.ring import SLOTS, Ring
from models.render.draw import draw

MESSAGE_BYTES = 1 << 16
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38  # linux/prctl.h


def run(job: dict[str, Any], channel_fd: int, media_fd: int, ring_fd: int) -> None:
    """Do one job. Does not return to the zygote's loop: the caller must exit the process afterwards."""
    if "credentials" in job:
        _credentials(job, channel_fd, media_fd, ring_fd)
        return
    limits, request = Limits(**job["limits"]), Request(**job["request"])
    channel_fd, media_fd, ring_fd = _keep_only(channel_fd, media_fd, ring_fd)
    with socket.socket(fileno=channel_fd) as channel, os.fdopen(media_fd, "rb", buffering=0) as media:
        ring = Ring(ring_fd, limits.slot_bytes)
        sender = _Sender(channel, ring)
        scene = ring.raw(0, request.scene_bytes).tobytes() if request.scene_bytes else b""
        _confine(limits)
        try:
            _misbehave(request.fault, channel)
            work = draw(media, scene, request, limits) if scene else decode(media, request, limits)
            for event in work:
                sender.send(event)
        except UnmaskError as error:
            sender.refusal(error)
        except MemoryError:
            sender.refusal(out_of_memory(limits))


def _credentials(job: dict[str, Any], *fds: int) -> None:
    """The other kind of job: content credentials out of the media, judged by the certificates in the third descriptor.

    Their library is loaded here, before the confinement and by this child alone: decoders do without its 23 MB of code.
    """
    limits = Limits(**job["limits"])
    channel_fd, media_fd, anchors_fd = _keep_only(*fds)
    load()
    memory = _Memory(limits.memory_bytes)
    with socket.socket(fileno=channel_fd) as channel, os.fdopen(media_fd, "rb") as media, os.fdopen(anchors_fd) as pem:
        _confine(limits)
        try:
            _misbehave(str(job["fault"]), channel)
            said = {"kind": "credentials", **_manifest(media, str(job["credentials"]), pem.read(), memory)}
        except UnmaskError as error:
            said = _refusal(error)
        except MemoryError:
            said = _refusal(out_of_memory(limits))
        channel.sendall(json.dumps(said, ensure_ascii=False).encode())


def _manifest(media: BufferedReader, mime: str, anchors: str, memory: "_Memory") -> dict[str, Any]:
    """As `read_manifest`; raises MemoryError where its library took failed allocations for damage to the file."""
    found = read_manifest(media, mime, anchors)
    if found["status"] != "valid" and memory.was_scarce():
        raise MemoryError
    return found


class _Memory:
    """How much address space this process took (proc_pid_status(5), VmPeak). Made before the confinement."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._status_fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        self._start_bytes = self._peak_bytes()

    def was_scarce(self) -> bool:
        """Whether more than half of what was left at the start was taken: what failed may have failed for that."""
        return 2 * (self._peak_bytes() - self._start_bytes) > self._limit_bytes - self._start_bytes

    def _peak_bytes(self) -> int:
        lines = os.pread(self._status_fd, 4096, 0).splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"VmPeak"))


def _refusal(error: UnmaskError) -> dict[str, Any]:
    return {"kind": "error", "code": error.code, "detail": error.detail, "accepted": error.accepted}


class _Sender:
    def __init__(self, channel: socket.socket, ring: Ring) -> None:
        self._channel, self._ring = channel, ring
        self._free = list(range(SLOTS))

    def send(self, event: Event) -> None:
        if isinstance(event, Frame):
            self._frame(event)
        elif isinstance(event, Sound):
            slot = self._slot()
            self._ring.samples(slot, len(event.samples))[:] = event.samples
            self.message("sound", slot=slot, count=len(event.samples))
        elif isinstance(event, Piece):
            slot = self._slot()
            self._ring.raw(slot, len(event.data))[:] = event.data
            self.message("piece", slot=slot, count=len(event.data))
        else:
            self.message("probe" if isinstance(event, Probe) else "report", **asdict(event))

    def refusal(self, error: UnmaskError) -> None:
        self.message(**_refusal(error))

    def message(self, kind: str, **fields: object) -> None:
        self._channel.sendall(json.dumps({"kind": kind, **fields}).encode())

    def _frame(self, frame: Frame) -> None:
        slot = self._slot()
        height, width = frame.pixels.shape[:2]
        copy_pixels(frame.pixels, self._ring.pixels(slot, height, width))
        self.message("frame", slot=slot, index=frame.index, t_s=frame.t_s, height=height, width=width)

    def _slot(self) -> int:
        """The slot the parent was done with last, whose pages are mapped and warm; waits for one if none is free."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take_back(socket.MSG_DONTWAIT)
        while not self._free:
            self._take_back()
        return self._free.pop()

    def _take_back(self, flags: int = 0) -> None:
        released = self._channel.recv(SLOTS, flags)
        if not released:
            os._exit(0)  # the parent has gone
        self._free.extend(released)


def _keep_only(*fds: int) -> tuple[int, ...]:
    """Move the job's descriptors to 3, 4, 5 and close everything else, the zygote's control channel above all."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    above = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]
    null = os.open(os.devnull, os.O_RDWR)
    for i, fd in enumerate((null, null, null, *above)):
        os.dup2(fd, i)
    os.closerange(3 + len(fds), 1 << 16)
    return tuple(range(3, 3 + len(fds)))


def _confine(limits: Limits) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _LIBC.prctl(_PR_SET_DUMPABLE, 0)
    for what, soft, hard in (
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1),  # SIGXCPU first, so that the cause can be named
        (resource.RLIMIT_NOFILE, limits.nofile, limits.nofile),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, 0, 0),
    ):
        resource.setrlimit(what, (soft, hard))
    seccomp.install(_LIBC)


def _misbehave(fault: str, channel: socket.socket) -> None:
    """What tests ask for, to see that the parent survives it."""
    if fault == "segv":
        ctypes.string_at(0)
    elif fault == "abort":
        os.abort()
    elif fault == "hang":
        time.sleep(3600)
    elif fault == "spin":
        while True:
            pass
    elif fault == "memory":
        bytearray(1 << 40)
    elif fault == "babble":
        channel.sendall(b"\xff[")
    elif fault == "escape":
        raise CorruptMedia(f"escaped: {', '.join(_ways_out()) or 'none'}")


def _ways_out() -> Iterator[str]:
    """What the confined child could still do to the world."""
    attempts: dict[str, Callable[[], object]] = {
        "file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "parent's memory": lambda: os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR),
        "socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 (must fail)
        "process": os.fork,
        "signal": lambda: os.kill(os.getppid(), 0),
    }
    for name, attempt in attempts.items():
        with contextlib.suppress(OSError):
            attempt()
            yield name
