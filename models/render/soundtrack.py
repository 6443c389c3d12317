"""The sound of a film: the source's own packets where a browser plays them, else encoded anew as AAC."""

from __future__ import annotations  # PyAV's classes are generic to the type checker only

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from models.media.container import Media, decoder_options

# Containers whose packets of AAC carry their own times and are as an MP4 holds them (ISO/IEC 14496-3, 1.6).
_COPIED_FROM = frozenset({"mp4", "mov", "m4a", "matroska", "webm"})
_LAYOUTS = frozenset({"mono", "stereo", "5.1"})  # of the encoder, as browsers play them; the others become stereo
_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
_GAP_S = 0.1  # a jump of the source's clock beyond this is a gap, below it is rounding


class Soundtrack:
    """Adds a source's sound to a film, piece by piece, so that it stays beside the pictures."""

    def __init__(self, media: Media, out: OutputContainer, start_s: float) -> None:
        """Announce the track to the film.

        Args:
            media: an open file with a sound track, of which nothing was read.
            out: before anything was written to it.
            start_s: when the first picture is shown, on the source's clock.
        """
        assert media.audio is not None
        track = media.audio
        copied = media.audio_codec == "aac" and media.name in _COPIED_FROM and track.codec_context.extradata
        voice: _Copied | _Encoded = _Copied(track, out, start_s) if copied else _Encoded(media, track, out, start_s)
        self._pieces = voice.pieces(media.packets(track))
        self._ready: tuple[float, list[Packet[Any]]] | None = None
        self._out = out

    def write(self, until_s: float) -> None:
        """Write what is heard before a moment, counted from the first picture."""
        while True:
            if self._ready is None:
                self._ready = next(self._pieces, None)
            if self._ready is None or self._ready[0] > until_s:
                return
            self._out.mux(self._ready[1])
            self._ready = None


class _Copied:
    def __init__(self, track: AudioStream, out: OutputContainer, start_s: float) -> None:
        self._track = track
        self._time_base = track.time_base or Fraction(1, track.codec_context.sample_rate)
        self._stream = out.add_stream_from_template(track)
        self._start = round(start_s / self._time_base)

    def pieces(self, packets: Iterator[Packet[Any]]) -> Iterator[tuple[float, list[Packet[Any]]]]:
        last = None
        for packet in packets:
            if packet.pts is None or (last is not None and packet.pts <= last):
                continue  # a damaged index; the muxer takes only times that increase
            last = packet.pts
            packet.pts -= self._start
            packet.dts = packet.pts
            packet.stream = self._stream
            yield float(packet.pts * self._time_base), [packet]


class _Encoded:
    def __init__(self, media: Media, track: AudioStream, out: OutputContainer, start_s: float) -> None:
        context = track.codec_context
        context.options = decoder_options(media.limits)
        self._source, self._start_s = track, start_s
        self._rate = context.sample_rate if context.sample_rate in _RATES else 48_000
        self._layout = context.layout.name if context.layout.name in _LAYOUTS else "stereo"
        stream: Any = out.add_stream("aac", rate=self._rate)
        stream.layout = self._layout
        self._stream: AudioStream = stream
        self._at: int | None = None  # the next sample's number on the film's clock
        self._resampler: AudioResampler | None = None
        self._kind: tuple[int, str, str] | None = None

    def pieces(self, packets: Iterator[Packet[Any]]) -> Iterator[tuple[float, list[Packet[Any]]]]:
        for packet in packets:
            for frame in self._decoded(packet):
                yield self._now_s(), list(self._frame(frame))
        rest = [sound for frame in self._decoded(None) for sound in self._frame(frame)]
        yield self._now_s(), [*rest, *self._flushed(), *self._stream.encode(None)]

    def _decoded(self, packet: Packet[Any] | None) -> list[AudioFrame]:
        try:
            return self._source.codec_context.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            return []  # a broken packet costs its own few milliseconds

    def _frame(self, frame: AudioFrame) -> Iterator[Packet[Any]]:
        kind = frame.sample_rate, frame.layout.name, frame.format.name
        if kind != self._kind:
            yield from self._flushed()
            self._resampler = AudioResampler(format="fltp", layout=self._layout, rate=self._rate)
            self._kind = kind
        self._tell_time(frame)
        frame.pts = None
        yield from self._encoded(frame)

    def _flushed(self) -> Iterator[Packet[Any]]:
        if self._resampler is not None:
            yield from self._encoded(None)

    def _encoded(self, frame: AudioFrame | None) -> Iterator[Packet[Any]]:
        assert self._resampler is not None
        for sound in self._resampler.resample(frame):
            sound.pts, sound.time_base = self._at, Fraction(1, self._rate)
            self._at = (self._at or 0) + sound.samples
            yield from self._stream.encode(sound)

    def _tell_time(self, frame: AudioFrame) -> None:
        """Start where the source starts, and jump where it jumps ahead."""
        time_s = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
        at = self._at if time_s is None else round((time_s - self._start_s) * self._rate)
        if self._at is None or (at is not None and at - self._at > _GAP_S * self._rate):
            self._at = at or 0

    def _now_s(self) -> float:
        return (self._at or 0) / self._rate
