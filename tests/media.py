"""Makes every clip the tests need, as bytes, with PyAV. No media file is stored in the repository."""

from __future__ import annotations  # PyAV's classes are generic to the type checker only

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pillow_heif
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Disposition
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

pillow_heif.register_heif_opener()
Picture = NDArray[np.uint8]
Samples = NDArray[np.float32]

_BITS = 10  # of the frame number, painted as a row of black and white squares
_QUIET = {"libx265": {"x265-params": "log-level=none"}, "libx264": {"preset": "veryfast"}}


@dataclass(frozen=True)
class Coding:
    """How a clip is written. The defaults are a plain MP4 as a phone or a browser makes it."""

    container: str = "mp4"
    codec: str = "libx264"
    fps: int = 30
    gop: int = 12
    b_frames: int = 0
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    rotation: int = 0
    mirrored: bool = False
    aspect: Fraction | None = None
    colorspace: int | None = None
    color_range: int | None = None
    container_options: dict[str, str] = field(default_factory=dict)


def clip_from_frames(
    frames: Iterable[Picture],
    coding: Coding | None = None,
    times_ms: Sequence[int] | None = None,
    sound: Samples | None = None,
    sound_codec: str = "aac",
) -> bytes:
    """A clip out of pictures.

    Args:
        frames: `(H, W, 3)` uint8 RGB each, all of one size unless the codec can change it.
        coding: container, codec and how they are used.
        times_ms: presentation time of each frame; None for a constant rate.
        sound: `(S,)` float32 mono at 48 kHz.
        sound_codec: its encoder.
    """
    coding = coding or Coding()
    file = io.BytesIO()
    with av.open(file, "w", format=coding.container, container_options=coding.container_options) as out:
        pictures = iter(frames)
        first = next(pictures)
        video = _video_stream(out, coding, first, timed=times_ms is not None)
        audio = _audio_stream(out, sound_codec) if sound is not None else None
        for number, pixels in enumerate(_again(first, pictures)):
            frame = _encodable(pixels, coding)
            frame.pts = times_ms[number] if times_ms else number
            frame.time_base = Fraction(1, 1000) if times_ms else Fraction(1, coding.fps)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if audio is not None and sound is not None:
            _write_sound(out, audio, sound)
    return file.getvalue()


def numbered_frames(count: int, width: int = 160, height: int = 96, image: Picture | None = None) -> Iterator[Picture]:
    """Moving pictures that carry their number: see `number_in`. With an image, a pan over it."""
    for number in range(count):
        frame = _background(number, width, height) if image is None else _panned(image, number, width, height)
        yield _with_number(frame, number) if image is None else frame


def number_in(pixels: Picture) -> int:
    """The number painted into a frame of `numbered_frames`, also after lossy coding."""
    height, width = pixels.shape[:2]
    cell = width // _BITS
    centres = [pixels[height - height // 8, bit * cell + cell // 2].mean() for bit in range(_BITS)]
    return sum(int(value > 127) << bit for bit, value in enumerate(centres))


def clip(frames: int = 30, width: int = 160, height: int = 96, coding: Coding | None = None, **more: Any) -> bytes:
    """A clip of numbered frames; what else is given goes to `clip_from_frames`."""
    return clip_from_frames(numbered_frames(frames, width, height), coding, **more)


def still(pixels: Picture | Image.Image, name: str = "jpeg", **options: Any) -> bytes:
    """A still picture in a format by the name `sniff` gives it; the options are those of Pillow's `save`."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, "HEIF" if name == "heic" else name.upper(), **options)
    return file.getvalue()


def gradient(width: int = 160, height: int = 96) -> Picture:
    """A smooth picture that looks different from every side: what lossy coding hardly changes."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


def tone(seconds: float, amplitude: float = 0.25, hz: float = 440.0) -> Samples:
    """`(S,)` float32 mono at 48 kHz."""
    t = np.arange(round(seconds * 48_000)) / 48_000
    return (amplitude * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def silence(seconds: float) -> Samples:
    """`(S,)` float32 of digital silence at 48 kHz."""
    return np.zeros(round(seconds * 48_000), np.float32)


def sound_only(samples: Samples, container: str = "mp4", codec: str = "aac", rate: int = 48_000) -> bytes:
    """A file with a sound track and nothing else."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        _write_sound(out, _audio_stream(out, codec, rate), samples)
    return file.getvalue()


def variable_rate(times_ms: Sequence[int], container: str = "mp4") -> bytes:
    """A clip whose frames are shown at these times."""
    return clip(len(times_ms), coding=Coding(container=container, b_frames=2), times_ms=times_ms)


def trimmed(start: int, frames: int) -> bytes:
    """A clip of 40 frames at 30 per second whose edit list shows only some, as a phone's trim leaves it."""
    data = bytearray(clip(40, coding=Coding(gop=20)))
    entry = data.index(b"elst") + 12
    ticks = 512  # the muxer's time base is 1/15360 s; the edit list's is 1/1000 s
    data[entry : entry + 8] = struct.pack(">Ii", round(frames / 30 * 1000), start * ticks)
    return bytes(data)


def interlaced(frames: int = 12, width: int = 320, height: int = 192) -> bytes:
    """A bar that moves between the two fields of each frame."""
    coding = Coding(fps=25, options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    return clip_from_frames((_combed(number, width, height) for number in range(frames)), coding)


def black(width: int, height: int, frames: int = 2, coding: Coding | None = None) -> bytes:
    """Black frames: tiny as a file, huge when decoded. A pixel bomb at 8192x8192."""
    picture = np.zeros((height, width, 3), np.uint8)
    return clip_from_frames((picture for _ in range(frames)), coding or Coding(options={"preset": "ultrafast"}))


def pixel_bomb() -> bytes:
    """A picture of 67 million pixels in half a megabyte."""
    return black(8192, 8192, 1, Coding(codec="mjpeg", pix_fmt="yuvj420p"))


def rate_bomb() -> bytes:
    """Forty frames that claim to be shown within 40 microseconds."""
    return clip(40, coding=Coding(fps=1_000_000))


def time_bomb(hours: int = 10) -> bytes:
    """Two frames, hours apart."""
    return clip(2, times_ms=[0, hours * 3_600_000])


def live_webm(frames: int = 30) -> bytes:
    """WebM as a browser's recorder streams it: no duration, no index."""
    return clip(frames, coding=Coding(container="webm", codec="libvpx", container_options={"live": "1"}))


def with_cover(frames: int = 10) -> bytes:
    """A small video whose cover picture is larger than the video."""
    cover = clip_from_frames([np.full((600, 600, 3), 200, np.uint8)], Coding("mjpeg", "mjpeg", pix_fmt="yuvj420p"))
    return _two_tracks(clip(frames), cover, attached=True)


def cover_only() -> bytes:
    """An MP4 that holds a cover picture and no track."""
    file = io.BytesIO()
    cover = clip_from_frames([gradient(64, 64)], Coding("mjpeg", "mjpeg", pix_fmt="yuvj420p"))
    with av.open(file, "w", format="mp4") as out, _opened(cover) as source:
        track = out.add_stream_from_template(source.streams.video[0])
        track.disposition = Disposition.attached_pic
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = track
                out.mux(packet)
    return file.getvalue()


def with_two_videos(frames: int = 10) -> bytes:
    """A small picture track first and a larger one second."""
    return _two_tracks(clip(frames, 96, 64), clip(frames, 192, 128), attached=False)


def many_tracks(count: int) -> bytes:
    """A file with that many sound tracks."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        tracks = [_audio_stream(out, "pcm_s16le") for _ in range(count)]
        for track in tracks:
            _write_sound(out, track, tone(0.05))
    return file.getvalue()


def resized_midway(frames: int = 20) -> bytes:
    """VP8 whose pictures grow to twice the side halfway."""
    small, large = clip(frames // 2, 160, 96, _VP8), clip(frames // 2, 320, 192, _VP8)
    return _appended(small, large)


def broken_midway(data: bytes, share: float = 0.5, length: int = 200) -> bytes:
    """The same file with some bytes of its pictures overwritten."""
    at = round(len(data) * share)
    noise = np.random.default_rng(7).integers(0, 256, length, np.uint8).tobytes()
    return data[:at] + noise + data[at + length :]


def in_container(name: str) -> bytes:
    """A short clip in a container that is not accepted, by FFmpeg's muxer name."""
    codec = {"flv": "flv1", "asf": "msmpeg4", "gif": "gif", "mpegts": "mpeg2video", "mpeg": "mpeg2video"}
    pix_fmt = "rgb8" if name == "gif" else "yuv420p"
    return clip(5, coding=Coding(name, codec.get(name, "mpeg4"), pix_fmt=pix_fmt, fps=25))


_VP8 = Coding(container="webm", codec="libvpx", options={"deadline": "realtime"})


def _video_stream(out: OutputContainer, coding: Coding, first: Picture, *, timed: bool) -> VideoStream:
    options = {**_QUIET.get(coding.codec, {}), "g": str(coding.gop), "bf": str(coding.b_frames), **coding.options}
    stream: Any = out.add_stream(coding.codec, rate=coding.fps, options=options)
    stream.height, stream.width = first.shape[:2]
    stream.pix_fmt = coding.pix_fmt
    stream.codec_context.thread_count = 1
    if timed:
        stream.codec_context.time_base = Fraction(1, 1000)
    for name in ("colorspace", "color_range"):
        if getattr(coding, name) is not None:
            setattr(stream.codec_context, name, getattr(coding, name))
    if coding.aspect is not None:
        stream.codec_context.sample_aspect_ratio = coding.aspect
    if coding.rotation or coding.mirrored:
        stream.set_display_rotation(coding.rotation, coding.mirrored)
    video: VideoStream = stream
    return video


def _encodable(pixels: Picture, coding: Coding) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    space = coding.colorspace or Colorspace.ITU601
    return rgb.reformat(format=coding.pix_fmt, dst_colorspace=space, dst_color_range=coding.color_range)


def _again(first: Picture, rest: Iterable[Picture]) -> Iterator[Picture]:
    yield first
    yield from rest


def _audio_stream(out: OutputContainer, codec: str, rate: int = 48_000) -> AudioStream:
    stream: Any = out.add_stream(codec, rate=rate)
    stream.layout = "mono"
    audio: AudioStream = stream
    return audio


def _write_sound(out: OutputContainer, stream: AudioStream, samples: Samples) -> None:
    for start in range(0, len(samples), 960):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="flt", layout="mono")
        frame.sample_rate, frame.pts = stream.codec_context.sample_rate, start
        frame.time_base = Fraction(1, frame.sample_rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode())


def _background(number: int, width: int, height: int) -> Picture:
    y, x = np.mgrid[0:height, 0:width]
    moving = np.stack([x * 2 + number * 5, y * 3 + number * 3, (x + y) + number * 7], axis=-1)
    return (moving % 256).astype(np.uint8)


def _panned(image: Picture, number: int, width: int, height: int) -> Picture:
    room_x, room_y = image.shape[1] - width, image.shape[0] - height
    left, top = number * 2 % max(room_x, 1), number % max(room_y, 1)
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def _with_number(frame: Picture, number: int) -> Picture:
    height, width = frame.shape[:2]
    cell = width // _BITS
    for bit in range(_BITS):
        frame[height - height // 4 :, bit * cell : (bit + 1) * cell] = 235 if number >> bit & 1 else 20
    return frame


def _combed(number: int, width: int, height: int) -> Picture:
    frame = np.full((height, width, 3), 20, np.uint8)
    left = 20 + number * 16
    frame[0::2, left : left + 40] = 235
    frame[1::2, left + 8 : left + 48] = 235
    return frame


def _opened(data: bytes) -> InputContainer:
    return av.open(io.BytesIO(data), "r")


def _two_tracks(first: bytes, second: bytes, *, attached: bool) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out, _opened(first) as a, _opened(second) as b:
        tracks = [(source, out.add_stream_from_template(source.streams.video[0])) for source in (a, b)]
        if attached:
            tracks[1][1].disposition = Disposition.attached_pic
        for source, track in tracks:
            for packet in source.demux(video=0):
                if packet.dts is not None or (attached and packet.size):
                    packet.stream = track
                    out.mux(packet)
    return file.getvalue()


def _appended(first: bytes, second: bytes) -> bytes:
    file, start = io.BytesIO(), 0
    with av.open(file, "w", format="webm") as out:
        track: VideoStream | None = None
        for data in (first, second):
            with _opened(data) as source:
                track = track or out.add_stream_from_template(source.streams.video[0])
                end = start
                for packet in source.demux(video=0):
                    if packet.pts is not None and packet.dts is not None and packet.duration is not None:
                        packet.pts, packet.dts = packet.pts + start, packet.dts + start
                        end = packet.pts + packet.duration
                        packet.stream = track
                        out.mux(packet)
                start = end
    return file.getvalue()
