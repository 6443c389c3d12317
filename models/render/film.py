"""A video drawn over and encoded anew, frame by frame, while its file is handed out."""

from __future__ import annotations  # PyAV's classes are generic to the type checker only

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import IO, Any

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from models.errors import CorruptMedia
from models.media.container import Media
from models.media.facts import Request
from models.media.limits import Limits
from models.media.picture import Numbered, deinterlaced
from models.media.pictures import Pictures
from models.render.overlay import Overlay
from models.render.planes import Planes, UprightPlanes
from models.render.scene import Scene
from models.render.sink import Sink, reread
from models.render.soundtrack import Soundtrack

# Each fragment begins with a key frame and is complete in itself: a browser plays the film while it is made. The index
# is written with the first one (delay_moov), when the sound's first time and the codecs' parameters are known.
_FRAGMENTS = {"movflags": "frag_keyframe+delay_moov+default_base_moof", "frag_duration": "2000000"}
_KEY_FRAME_S = 2.0
_ENCODER = {"preset": "superfast", "crf": "21", "bf": "0"}  # without B-frames a frame's time is its packet's
_BITS_PER_PIXEL = 0.25  # at most: four times what a talking head takes at that crf
_FINEST_TICK = 1_000_000  # per second; a source's clock that is finer is rounded
_COARSE_TICK = 90_000


def film(file: IO[bytes], scene: Scene, request: Request, limits: Limits) -> Iterator[bytes]:
    """Draw a scene into a video.

    Args:
        file: a real file, opened for reading.
        scene: what is drawn.
        request: how many threads decode, and as many encode.
        limits: what it may cost.

    Yields:
        Pieces of a fragmented MP4: H.264 and, if the source has sound, AAC.

    Raises:
        MediaError: as `decode`.
    """
    media = Media(file, limits)
    media.require_video()
    work = _Film(media, Media(reread(file), limits), scene, request)
    yield from work.pieces()
    media.close()


class _Film:
    def __init__(self, media: Media, sound: Media, scene: Scene, request: Request) -> None:
        self._scene, self._threads, self._sound = scene, request.threads, sound
        self._walk = media.walk()
        self._times_s = self._walk.times_s
        numbers = np.arange(len(self._times_s), dtype=np.int64)
        self._pictures = Pictures(media, self._walk, request.threads)
        frames = self._pictures.frames(numbers)
        first = next(frames, None)
        if first is None:
            raise CorruptMedia(f"None of the {media.codec} pictures could be decoded.")
        video = media.require_video()
        self._upright = UprightPlanes(first[1], float(video.sample_aspect_ratio or 1))
        self._frames: Iterator[Numbered] = chain((first,), frames)
        if first[1].interlaced_frame:
            self._frames = deinterlaced(self._frames, frozenset(numbers.tolist()))
        self._overlay = Overlay(scene, self._upright.size_wh, self._times_s)
        self._time_base = video.time_base or Fraction(1, _COARSE_TICK)
        self._tick = _tick(video)
        self._start_s = self._shown_first_s()

    def pieces(self) -> Iterator[bytes]:
        sink = Sink()
        with av.open(sink, "w", format="mp4", options=_FRAGMENTS, buffer_size=1 << 16) as out:
            stream = self._stream(out)
            sound = Soundtrack(self._sound, out, self._start_s) if self._sound.audio is not None else None
            for number, frame in self._frames:
                out.mux(stream.encode(self._drawn(number, frame)))
                if sound is not None:
                    sound.write(float(self._times_s[number]))
                yield from sink.taken()
            out.mux(stream.encode(None))
            if sound is not None:
                sound.write(float("inf"))
        yield from sink.taken()

    def _stream(self, out: OutputContainer) -> VideoStream:
        width, height = self._upright.frame_size_wh
        fps = len(self._times_s) / max(self._walk.duration_s, 1e-3)
        most = str(round(_BITS_PER_PIXEL * width * height * fps))
        options = {**_ENCODER, "maxrate": most, "bufsize": most, "g": str(max(1, round(_KEY_FRAME_S * fps)))}
        rate = Fraction(fps).limit_denominator(1001)
        stream: Any = out.add_stream("libx264", rate=max(rate, Fraction(1, 1001)), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = self._tick
        context.thread_count = self._threads
        for name, value in self._upright.tags.items():
            setattr(context, name, value)
        encoder: VideoStream = stream
        return encoder

    def _drawn(self, number: int, frame: VideoFrame) -> VideoFrame:
        target = self._upright.of(frame)
        self._overlay.draw(Planes(target, self._upright.ink), number)
        target.pts, target.time_base = round(self._times_s[number] / float(self._tick)), self._tick
        target.duration = round(self._lasts_s(number) / float(self._tick))
        return target

    def _lasts_s(self, number: int) -> float:
        after = self._times_s[number + 1] if number + 1 < len(self._times_s) else self._walk.duration_s
        return float(after - self._times_s[number])

    def _shown_first_s(self) -> float:
        """When the first picture is shown, on the file's own clock, on which the sound's times are too."""
        index = self._walk.index
        if not index.exact:
            return 0.0
        return float(index.pts[index.display_order()[0]] * self._time_base)


def _tick(video: VideoStream) -> Fraction:
    """The source's own clock, so that every frame keeps its exact time; a plain one if it is too fine for an MP4."""
    tick = video.time_base
    return tick if tick is not None and tick.denominator <= _FINEST_TICK else Fraction(1, _COARSE_TICK)
