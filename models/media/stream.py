"""Reading one piece of media: the door through which the rest of the house gets frames and sound."""

import os
import threading
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Self

import numpy as np

from models.media.audio import Samples, at_fixed_loudness, audible_s
from models.media.confined import decode_confined
from models.media.decode import decode
from models.media.facts import Event, Frame, Probe, Report, Request, Sound
from models.media.limits import Limits
from models.media.source import Source, open_source


def read(
    source: Source,
    request: Request,
    limits: Limits | None = None,
    cancelled: threading.Event | None = None,
) -> "MediaStream":
    """Decode in a confined child process.

    ```
    with read(data, Request(counts=(16, 32), audio=True)) as stream:
        for frame in stream.frames(): ...
        sound = stream.audio()
    ```

    Args:
        source: a path, or the media as bytes or `(N,)` uint8.
        request: how many frames each view wants, and whether the sound is wanted.
        limits: what the media may be and may cost; None for the defaults.
        cancelled: set by another thread to stop the work.

    Raises:
        MediaError: what was sent cannot be analysed; here when that shows before the first frame, else on the way.
        Cancelled: `cancelled` was set.
        OSError: the path cannot be opened.
    """
    limits = limits or Limits()
    _check(request, limits)
    fd = open_source(source)
    return MediaStream(_then_close(decode_confined(fd, request, limits, cancelled), fd))


def read_in_process(source: Source, request: Request, limits: Limits | None = None) -> "MediaStream":
    """The same without confinement: for media we made ourselves, and as the floor the confined way is measured by."""
    limits = limits or Limits()
    _check(request, limits)
    fd = open_source(source)
    file = os.fdopen(fd, "rb", buffering=0, closefd=False)  # closed below, with the descriptor
    return MediaStream(_then_close(decode(file, request, limits), fd))


class MediaStream:
    """Media being decoded, in order: first the frames, then the sound. Close it, or use it in a `with`.

    Attributes:
        probe: what the file is.
        report: what the decode took; complete once everything was read.
        audible_s: seconds of the sound track that are not silence, as it was recorded; known after `audio()`.
    """

    def __init__(self, events: Generator[Event]) -> None:
        self._events = events
        self._sound: list[Samples] = []
        self.report = Report()
        self.audible_s = 0.0
        self.probe = self._first()

    def frames(self) -> Iterator[Frame]:
        """The wanted frames in display order, as they are decoded.

        A frame's pixels are a view of shared memory and change when the next frame is asked for. While the caller
        works on one frame the child decodes the next ones.

        Raises:
            MediaError: decoding failed on the way.
            Cancelled: the caller's event was set.
        """
        for event in self._events:
            if isinstance(event, Frame):
                yield event
            elif isinstance(event, Sound):
                self._sound.append(event.samples.copy())
            elif isinstance(event, Report):
                self.report = event

    def audio(self) -> Samples | None:
        """The whole sound track: `(S,)` float32 mono at 16 kHz in [-1, 1], speech at -26 dB of full scale.

        Frames that were not read yet are skipped. None if there is no sound track, its codec is not on the
        allow-list, nothing in it could be decoded, or it was not requested.
        """
        for _ in self.frames():
            pass
        if not self._sound:
            return None
        sound = np.concatenate(self._sound)
        self._sound = [sound]  # not kept twice: half an hour is 115 MB
        self.audible_s = audible_s(sound)
        return at_fixed_loudness(sound)

    def close(self) -> None:
        """Stop decoding and free the child, the ring and the descriptors."""
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _first(self) -> Probe:
        probe = next(self._events)
        if not isinstance(probe, Probe):
            self.close()
            raise TypeError(f"{type(probe).__name__} came before the probe")
        return probe


def _check(request: Request, limits: Limits) -> None:
    most = max(request.counts, default=0)
    if most > limits.max_frames_analysed:
        raise ValueError(f"{most} frames requested, at most {limits.max_frames_analysed}")
    if not request.counts and not request.audio:
        raise ValueError("neither frames nor sound were requested")


def _then_close(events: Iterator[Event], fd: int) -> Generator[Event]:
    try:
        yield from events
    finally:
        os.close(fd)
