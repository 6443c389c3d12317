"""The parent's side of the confined child: jobs out, frames in. Nothing the child says is trusted."""

import atexit
import contextlib
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import Cancelled, CorruptMedia, DecoderCrashed, DecoderTimeout, MediaError
from models.media.facts import Event, Frame, Piece, Probe, Report, Request, Sound
from models.media.limits import SAMPLE_RATE_HZ, Limits
from models.media.ring import Ring

_MESSAGE_BYTES = 1 << 16
_WORD, _SENTENCE = 64, 400  # lengths, in characters, beyond which a child is not telling but flooding
_BITS_PER_PIXEL = 4  # of what is drawn, at most: pictures are written with fewer, films with a quarter of one
_CANCEL_CHECK_MS = 50  # how soon a caller who went away stops the work
Cancel = threading.Event | None

# Left alone, glibc hands the memory of each picture back to the kernel and takes it again for the next one: 480 page
# faults per frame, which doubled the cost of decoding. Pictures are below 32 MiB; two threads need two arenas. Huge
# pages, where the kernel has them, spare a new child some 5,000 more faults: 3 % of a 10 s clip.
_MALLOC = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
_ROOT = Path(__file__).resolve().parents[2]


class ZygoteDied(DecoderCrashed):
    """The fork server went away before the child had said anything, so the job can be tried again."""

    def __init__(self) -> None:
        super().__init__("The decoder process could not be started.")

    def __reduce__(self) -> tuple[type[DecoderCrashed], tuple[str]]:
        return DecoderCrashed, (self.detail,)


class Zygote:
    """A running fork server."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.owner = os.getpid()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 (our own module, no part of it from outside)
                [sys.executable, "-m", "models.media.zygote", str(theirs.fileno())],
                env=_environment(),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # a Ctrl-C in the terminal is for the parent
            )

    @property
    def alive(self) -> bool:
        """Whether it can take jobs from this process."""
        return self.owner == os.getpid() and self.process.poll() is None

    def start(self, job: bytes, *fds: int) -> None:
        """Have a child forked for this job. Raises OSError if the server has died."""
        socket.send_fds(self._control, [job], fds)

    def close(self) -> None:
        """End the server; the kernel ends its children with it."""
        self._control.close()
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


_lock = threading.Lock()
_zygote: Zygote | None = None


def zygote() -> Zygote:
    """This process's fork server, started on first use and again after it died."""
    global _zygote  # noqa: PLW0603 (one per process is the point)
    with _lock:
        if _zygote is None or not _zygote.alive:
            if _zygote is not None:
                _zygote.close()
            _zygote = Zygote()
        return _zygote


@atexit.register
def _close_at_exit() -> None:
    if _zygote is not None:
        _zygote.close()


def _await_end() -> None:
    """A server that was killed takes a moment to be gone; until then it would be asked again."""
    with _lock, contextlib.suppress(subprocess.TimeoutExpired):
        if _zygote is not None:
            _zygote.process.wait(timeout=1)


def _environment() -> dict[str, str]:
    """What the child may know: where Python's modules are. No keys, no tokens, no addresses."""
    paths = [str(_ROOT), *(path for path in sys.path if path)]
    return {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1", **_MALLOC}


def decode_confined(
    media_fd: int, request: Request, limits: Limits, cancelled: Cancel = None, scene: bytes = b""
) -> Generator[Event]:
    """The events of `decode`, or of `draw`, from a confined child. What they hold are views of shared memory.

    Args:
        media_fd: descriptor of the media, read from its beginning. Stays open.
        request: what is wanted.
        limits: what it may cost.
        cancelled: checked while waiting.
        scene: what to draw, `request.scene_bytes` long; nothing to decode.

    Raises:
        ValueError: the scene is larger than a frame.
        MediaError: as `decode`, and DecoderCrashed, DecoderTimeout, DecoderOutOfMemory for how the child can end.
        Cancelled: the event was set.
    """
    job = _Job(request, limits, cancelled, scene)
    try:
        yield from _attempt(job, media_fd)
    except ZygoteDied:
        _await_end()
        yield from _attempt(job, media_fd)


def ask_confined(
    job: dict[str, Any], media_fd: int, other_fd: int, limits: Limits, cancelled: Cancel = None
) -> dict[str, Any]:
    """The one message of a job that is answered in words alone. Not a field of it may be trusted.

    Args:
        job: what `child.run` is told beside the limits.
        media_fd: descriptor of the media.
        other_fd: what takes the ring's place.
        limits: what it may cost.
        cancelled: checked while waiting.

    Raises:
        MediaError: how the child ended, as in `decode_confined`, or its own refusal.
        Cancelled: the event was set.
    """
    text = json.dumps({**job, "limits": asdict(limits)}).encode()
    try:
        return _asked(text, media_fd, other_fd, limits, cancelled)
    except ZygoteDied:
        _await_end()
        return _asked(text, media_fd, other_fd, limits, cancelled)


def _asked(job: bytes, media_fd: int, other_fd: int, limits: Limits, cancelled: Cancel) -> dict[str, Any]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            try:
                zygote().start(job, theirs.fileno(), media_fd, other_fd)
            except OSError as error:
                raise ZygoteDied from error
        data = _Ear(ours, limits, cancelled).receive()
    try:
        message = dict(json.loads(data))
        if message["kind"] == "exit":
            raise _ending(int(message["exitcode"]), limits)
        if message["kind"] == "error":
            raise _error(message["code"], message["detail"], message["accepted"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DecoderCrashed("The decoder process sent something that makes no sense.") from error
    return message


@dataclass(frozen=True, slots=True)
class _Job:
    """What one child is to do."""

    request: Request
    limits: Limits
    cancelled: Cancel
    scene: bytes

    def message(self) -> bytes:
        return json.dumps({"request": asdict(self.request), "limits": asdict(self.limits)}).encode()


def _attempt(job: _Job, media_fd: int) -> Generator[Event]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            ring = Ring.create(job.limits.slot_bytes)
            try:
                if job.scene:
                    ring.raw(0, len(job.scene))[:] = np.frombuffer(job.scene, np.uint8)
                zygote().start(job.message(), theirs.fileno(), media_fd, ring.fd)
            except OSError as error:
                raise ZygoteDied from error
            finally:
                ring.close()
        yield from _Conversation(ours, ring, job.request, job.limits, job.cancelled).events()


class _Ear:
    """Waits for what a child says, no longer than its limits allow."""

    def __init__(self, channel: socket.socket, limits: Limits, cancelled: Cancel) -> None:
        self._channel, self._limits, self._cancelled = channel, limits, cancelled
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._waited_s = 0.0
        self._heard = False

    def receive(self) -> bytes:
        self._wait()
        data = self._read() or self._read()
        if not data:
            raise DecoderCrashed("The decoder process vanished.") if self._heard else ZygoteDied
        self._heard = True
        return data

    def _read(self) -> bytes:
        """One message; nothing at the end, or once when the child ended without reading our last words."""
        try:
            return self._channel.recv(_MESSAGE_BYTES)
        except ConnectionResetError:
            return b""

    def _wait(self) -> None:
        started = time.monotonic()
        while True:
            ready = self._poll.poll(_CANCEL_CHECK_MS)
            if self._cancelled is not None and self._cancelled.is_set():
                raise Cancelled("The caller went away while the media was decoded.")
            waited_s = self._waited_s + time.monotonic() - started
            if waited_s > self._limits.wall_s:
                raise DecoderTimeout(f"Decoding took longer than {self._limits.wall_s:g} s.")
            if ready:
                self._waited_s = waited_s
                return


class _Conversation:
    """What the child may say, and when. Whatever else it says ends it."""

    def __init__(self, channel: socket.socket, ring: Ring, request: Request, limits: Limits, cancelled: Cancel) -> None:
        self._channel, self._ring, self._limits = channel, ring, limits
        self._ear = _Ear(channel, limits, cancelled)
        self._last_index = -1
        self._frames_left = sum(request.counts)
        self._samples_left = round(limits.max_duration_s * SAMPLE_RATE_HZ) if request.audio else 0
        self._bytes_left = limits.max_decoded_pixels * _BITS_PER_PIXEL // 8 if request.scene_bytes else 0

    def events(self) -> Generator[Event]:
        while True:
            data = self._ear.receive()
            try:
                message: dict[str, Any] = json.loads(data)
                event = self._event(message.pop("kind"), message)
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                raise DecoderCrashed("The decoder process sent something that makes no sense.") from error
            yield event
            if isinstance(event, Report):
                return
            if isinstance(event, Frame | Sound | Piece):
                self._release(message["slot"])

    def _release(self, slot: int) -> None:
        with contextlib.suppress(OSError):  # the child may have ended meanwhile; its last words are still to be read
            self._channel.send(bytes([slot]))

    def _event(self, kind: str, message: dict[str, Any]) -> Event:
        match kind:
            case "frame":
                return self._frame(**message)
            case "sound":
                return self._sound(**message)
            case "piece":
                return self._piece(**message)
            case "probe":
                return Probe(**_checked(Probe, message))
            case "report":
                return Report(**_checked(Report, message))
            case "error":
                raise _error(**message)
            case "exit":
                raise _ending(int(message["exitcode"]), self._limits)
        raise ValueError(kind)

    def _frame(self, slot: int, index: int, t_s: float, height: int, width: int) -> Frame:
        self._frames_left -= 1
        if self._frames_left < 0 or index <= self._last_index or not math.isfinite(t_s):
            raise ValueError("a frame out of order")
        self._last_index = index
        pixels = self._ring.pixels(slot, height, width)
        pixels.flags.writeable = False
        return Frame(index, t_s, pixels)

    def _sound(self, slot: int, count: int) -> Sound:
        self._samples_left -= count
        if self._samples_left < 0:
            raise ValueError("more sound than allowed")
        return Sound(self._ring.samples(slot, count))

    def _piece(self, slot: int, count: int) -> Piece:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise ValueError("more bytes than allowed")
        return Piece(self._ring.raw(slot, count))


def _checked(kind: type[Probe | Report], message: dict[str, Any]) -> dict[str, Any]:
    """Exactly the fields of the dataclass, of its types, finite and short."""
    for field in fields(kind):
        value = message[field.name]
        fits = isinstance(value, str) and len(value) < _WORD if field.type is str else _is_number(value)
        if not fits or (field.type is int and not isinstance(value, int)):
            raise ValueError(field.name)
    return message


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf


def _error(code: str, detail: str, accepted: str) -> MediaError:
    """One of our own errors by its code; never a class the child names freely."""
    found = [kind for kind in _kinds(MediaError) if kind.code == code]
    return (found[0] if found else CorruptMedia)(str(detail)[:_SENTENCE], str(accepted)[:_SENTENCE])


def _kinds(base: type[MediaError]) -> list[type[MediaError]]:
    return [base, *(kind for derived in base.__subclasses__() for kind in _kinds(derived))]


def _ending(exitcode: int, limits: Limits) -> MediaError:
    """Why a child ended that never reported."""
    if -exitcode == signal.SIGXCPU:
        return DecoderTimeout(f"Decoding took more than {limits.cpu_s} s of processor time.")
    if exitcode < 0:
        return DecoderCrashed(f"The decoder process died of {signal.Signals(-exitcode).name}.")
    return DecoderCrashed(f"The decoder process ended with status {exitcode}.")
