"""The packets of a file, counted and timed without decoding: exact where headers are missing, vague or lying."""

from __future__ import annotations  # PyAV's classes are generic to the type checker only

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from models.media.plan import Ints, PacketIndex

_ASSUMED_FPS = Fraction(25)  # for a stream without timestamps and without a rate


class Track:
    """What is noted of each packet of one track, in decode order. Its length is the number of packets."""

    def __init__(self, stream: Stream | None) -> None:
        self.time_base = (stream.time_base if stream is not None else None) or Fraction(1, 1000)
        self.rate = _rate(stream)
        # AVI has no presentation times; FFmpeg makes them up, and for these codecs it takes decode order for display.
        self.is_made_up = stream is not None and _is_avi(stream) and stream.name in {"h264", "hevc"}
        self._hides_frames = isinstance(stream, VideoStream) and stream.name == "vp8"
        self.pts: list[int | None] = []
        self.dts: list[int | None] = []
        self.is_key: list[bool] = []
        self.is_shown: list[bool] = []
        self.last_duration = 0

    def __len__(self) -> int:
        return len(self.pts)

    def add(self, packet: Packet[Any]) -> None:
        """Note one packet."""
        self.pts.append(packet.pts)
        self.dts.append(packet.dts)
        self.is_key.append(packet.is_keyframe)
        # A VP8 packet may hold only a hidden reference frame: bit 4 of its first byte is show_frame (RFC 6386, 9.1).
        hidden = self._hides_frames and not memoryview(packet)[0] >> 4 & 1
        self.is_shown.append(not (packet.is_discard or hidden))
        self.last_duration = packet.duration or self.last_duration

    def timed(self) -> Ints:
        """`(N,)` int64: the timestamps of the shown packets that have one, increasing."""
        shown = [pts for pts, is_shown in zip(self.pts, self.is_shown, strict=True) if is_shown and pts is not None]
        return np.sort(np.array(shown, np.int64))


@dataclass(frozen=True, slots=True)
class Walk:
    """What the packets of a file say.

    Attributes:
        index: the video packets.
        dts: `(P,)` int64 decode timestamps of the video packets; some containers seek by them.
        times_s: presentation times of the shown frames in display order, from 0.
        duration_s: from the first frame shown to the end of the last.
        audio_s: from the first sound packet to the end of the last.
        audio_start_pts: of the first sound packet.
        span_s: from the earliest to the latest moment of either track.
    """

    index: PacketIndex
    dts: Ints
    times_s: NDArray[np.float64]
    duration_s: float
    audio_s: float
    audio_start_pts: int
    span_s: float

    @classmethod
    def of(cls, frames: Track, sound: Track) -> Walk:
        """Sum up both tracks; either may be empty."""
        index = _index(frames)
        spans = [_span(frames), _span(sound)]
        known = [span for span in spans if span[1] > span[0]]
        times_s = _times(frames, index)
        return cls(
            index=index,
            dts=np.array([_known(dts, pts) for dts, pts in zip(frames.dts, frames.pts, strict=True)], np.int64),
            times_s=times_s,
            duration_s=_duration(frames, times_s),
            audio_s=spans[1][1] - spans[1][0],
            audio_start_pts=min((pts for pts in sound.pts if pts is not None), default=0),
            span_s=max((end for _, end in known), default=0.0) - min((start for start, _ in known), default=0.0),
        )


def _index(frames: Track) -> PacketIndex:
    pts = np.array([_known(pts, dts) for pts, dts in zip(frames.pts, frames.dts, strict=True)], np.int64)
    exact = not frames.is_made_up and None not in frames.pts and len(np.unique(pts)) == len(pts)
    return PacketIndex(pts, np.array(frames.is_key, bool), np.array(frames.is_shown, bool), exact)


def _times(frames: Track, index: PacketIndex) -> NDArray[np.float64]:
    order = index.display_order()
    if not index.exact:
        return np.arange(len(order), dtype=np.float64) / float(frames.rate)
    pts = index.pts[order]
    return np.asarray((pts - pts[:1]) * float(frames.time_base), np.float64)


def _duration(frames: Track, times_s: NDArray[np.float64]) -> float:
    """The last frame lasts as long as it says, or as long as the one before, or as the rate says."""
    if not len(times_s):
        return 0.0
    own_s = float(frames.last_duration * frames.time_base)
    before_s = float(times_s[-1] - times_s[-2]) if len(times_s) > 1 else float(1 / frames.rate)
    return float(times_s[-1]) + (own_s or before_s)


def _span(track: Track) -> tuple[float, float]:
    timed = track.timed()
    if not len(timed):
        return 0.0, 0.0
    end = int(timed[-1]) + track.last_duration
    return float(int(timed[0]) * track.time_base), float(end * track.time_base)


def _is_avi(stream: Stream) -> bool:
    return stream.container.format.name == "avi"


def _rate(stream: Stream | None) -> Fraction:
    if not isinstance(stream, VideoStream):
        return _ASSUMED_FPS
    return stream.average_rate or stream.guessed_rate or _ASSUMED_FPS


def _known(first: int | None, second: int | None) -> int:
    return first if first is not None else second if second is not None else 0
