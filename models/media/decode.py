"""One decode from start to end, in whatever process it is called: probe, frames, sound, report."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import IO

from models.errors import CorruptMedia, DecoderOutOfMemory, UnmaskError
from models.media.audio import sound_blocks
from models.media.container import Media
from models.media.facts import Event, Frame, Probe, Report, Request, Sound
from models.media.limits import Limits
from models.media.picture import Numbered, Upright, deinterlaced
from models.media.pictures import Pictures
from models.media.plan import Ints, union_indices, with_neighbours
from models.media.sniff import HEAD_BYTES, STILLS, container_of
from models.media.still import still_events


def decode(file: IO[bytes], request: Request, limits: Limits) -> Iterator[Event]:
    """Decode what is requested. The same code runs in the confined child and, for benchmarks and tools, in process.

    Args:
        file: seekable, opened for reading.
        request: what is wanted.
        limits: what it may cost; memory and processor limits are the child's, not checked here.

    Yields:
        One `Probe`, then `Frame`s in display order, then `Sound` blocks, then one `Report`. What is wanted and not
        there (the pictures of a recording, the sound of a photograph) is left out; the probe says what there is.

    Raises:
        MediaError: one of its subclasses, for every way in which media can be unfit.
    """
    with named_errors(limits):
        yield from _events(file, request, limits)


@contextmanager
def named_errors(limits: Limits) -> Iterator[None]:
    """Whatever reading media raises, as one of our own errors."""
    try:
        yield
    except UnmaskError:
        raise
    except MemoryError as error:
        raise out_of_memory(limits) from error
    except Exception as error:
        # What PyAV raises on damaged files is no one family; UnicodeDecodeError has been seen.
        raise CorruptMedia(f"The file cannot be decoded ({type(error).__name__}).") from error


def _events(file: IO[bytes], request: Request, limits: Limits) -> Iterator[Event]:
    file.seek(0)
    name = container_of(file.read(HEAD_BYTES))
    return still_events(file, name, request, limits) if name in STILLS else _Decode(file, request, limits).events()


def out_of_memory(limits: Limits) -> DecoderOutOfMemory:
    """The error for a decode that passed its memory limit."""
    return DecoderOutOfMemory(f"Decoding needed more than {limits.memory_bytes / 2**20:.0f} MiB of memory.")


class _Decode:
    def __init__(self, file: IO[bytes], request: Request, limits: Limits) -> None:
        started = time.perf_counter()
        self._request, self._limits = request, limits
        self._media = Media(file, limits)
        self._counts = request.counts if self._media.video is not None else ()
        if self._counts:
            self._media.require_video()
        self._media.require_anything()
        self._walk = self._media.walk()
        self._pictures = Pictures(self._media, self._walk, request.threads)
        self._probe_s = time.perf_counter() - started
        self._decode_s = 0.0

    def events(self) -> Iterator[Event]:
        yield from self._timed(self._video() if self._counts else iter((self._probe(None),)))
        if self._request.audio and self._media.audio is not None:
            yield from self._timed(self._sound())
        self._media.close()
        yield Report(self._pictures.decoded, self._pictures.missing, self._probe_s, self._decode_s)

    def _sound(self) -> Iterator[Event]:
        blocks = sound_blocks(self._media, self._walk.audio_start_pts)
        first = next(blocks, None)
        if first is None and self._media.video is None:
            raise CorruptMedia(f"None of the {self._media.audio_codec} sound could be decoded.")
        yield from () if first is None else map(Sound, chain((first,), blocks))

    def _video(self) -> Iterator[Event]:
        wanted = union_indices(len(self._walk.times_s), self._counts)
        frames = self._pictures.frames(wanted)
        first = next(frames, None)
        if first is None:
            raise CorruptMedia(f"None of the {self._media.codec} pictures could be decoded.")
        upright = Upright(first[1], self._aspect(), self._limits.working_side)
        yield self._probe(upright)
        frames = self._interlaced(wanted) if first[1].interlaced_frame else chain((first,), frames)
        for number, frame in frames:
            yield Frame(number, float(self._walk.times_s[number]), upright.pixels(frame))

    def _interlaced(self, wanted: Ints) -> Iterator[Numbered]:
        """Start over: whether pictures are interlaced shows only in the first of them, and then neighbours count."""
        near = with_neighbours(len(self._walk.times_s), wanted)
        return deinterlaced(self._pictures.frames(near), frozenset(wanted.tolist()))

    def _probe(self, upright: Upright | None) -> Probe:
        walk, media = self._walk, self._media
        frames = len(walk.times_s)
        width, height = upright.size_wh if upright else (0, 0)
        frame_width, frame_height = upright.frame_size_wh if upright else (0, 0)
        return Probe(
            container=media.name,
            codec=media.codec,
            duration_s=walk.duration_s or walk.audio_s,
            width=width,
            height=height,
            frame_width=frame_width,
            frame_height=frame_height,
            fps=frames / walk.duration_s if walk.duration_s else 0.0,
            frames_total=frames,
            audio_codec=media.audio_codec,
            audio_s=walk.audio_s,
        )

    def _aspect(self) -> float:
        return float(self._media.require_video().sample_aspect_ratio or 1)

    def _timed(self, events: Iterable[Event]) -> Iterator[Event]:
        """Adds up the time spent here, not the time in which the consumer works."""
        source = iter(events)
        while True:
            started = time.perf_counter()
            event = next(source, None)
            self._decode_s += time.perf_counter() - started
            if event is None:
                return
            yield event
