"""The same item at five strengths of compression, scale, noise and level: what platforms and telephones do to it.

Re-encoding is deterministic: one thread, seeded noise. Pictures of a video are re-encoded and its sound is copied;
sound alone is re-encoded. Noise, scale and level are written as gently as the format allows, so that each curve shows
one thing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from models.media import SAMPLE_RATE_HZ, Limits, Request, read
from models.media.picture import Upright

STRENGTHS = (1, 2, 3, 4, 5)
FADERS: dict[str, dict[str, tuple[float, ...]]] = {
    "video": {
        "compression": (23, 28, 33, 38, 43),
        "scale": (0.75, 0.5, 0.375, 0.25, 0.18),
        "noise": (2, 5, 10, 15, 25),
    },
    "image": {
        "compression": (90, 70, 50, 30, 15),
        "scale": (0.75, 0.5, 0.375, 0.25, 0.18),
        "noise": (2, 5, 10, 15, 25),
    },
    "audio": {"compression": (64, 48, 32, 24, 16), "level": (-6, -12, -18, -24, -30), "noise": (40, 30, 20, 10, 5)},
}
"""What the five strengths are, by kind of media and name."""
UNITS = {
    ("video", "compression"): "H.264 constant rate factor",
    ("image", "compression"): "JPEG quality",
    ("audio", "compression"): "MP3, kbit/s",
    ("audio", "noise"): "white noise, dB below the sound",
    ("audio", "level"): "dB",
    ("video", "scale"): "share of each side",
    ("image", "scale"): "share of each side",
    ("video", "noise"): "standard deviation, grey levels",
    ("image", "noise"): "standard deviation, grey levels",
}
GENTLE_CRF = 16  # H.264 that hardly changes a picture: for what is not about compression
SEED = 20261121
EXACT = {"fflags": "+bitexact"}  # no random identifiers, no dates: the same bytes in every run
SMALLEST_SIDE = 16  # pixels; the encoder's smallest block

Picture = NDArray[np.uint8]
Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Variant:
    """One degradation: `name` is a key of `FADERS`, `strength` counts from 1, `value` is what that means."""

    name: str
    strength: int
    value: float

    def __str__(self) -> str:
        return f"{self.name} {self.strength}"


def variants(kind: str) -> list[Variant]:
    """All degradations of a kind of media."""
    return [
        Variant(name, strength, value)
        for name, values in FADERS[kind].items()
        for strength, value in zip(STRENGTHS, values, strict=True)
    ]


def variant(kind: str, name: str) -> Variant:
    """The degradation of that name, such as `compression 3`."""
    return next(v for v in variants(kind) if str(v) == name)


def degraded(path: Path, kind: str, how: Variant, folder: Path) -> Path:
    """Write a degraded copy of a file into a folder and return its path.

    Raises:
        MediaError: it cannot be read.
        av.FFmpegError: it cannot be re-encoded.
    """
    if kind == "image":
        return _still(path, how, folder)
    return _video(path, how, folder / "degraded.mkv") if kind == "video" else _sound(path, how, folder)


def changed(rgb: Picture, how: Variant, rng: np.random.Generator) -> Picture:
    """Scale or noise applied to `(H, W, 3)` uint8 RGB; compression leaves it to the encoder."""
    if how.name == "scale":
        size_wh = tuple(max(SMALLEST_SIDE, round(side * how.value)) for side in (rgb.shape[1], rgb.shape[0]))
        return np.asarray(cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    if how.name == "noise":
        grain = rng.standard_normal(rgb.shape, np.float32) * np.float32(how.value)
        return np.clip(np.rint(rgb + grain), 0, 255).astype(np.uint8)
    return rgb


def changed_sound(sound: Samples, how: Variant, rng: np.random.Generator) -> Samples:
    """Level or noise applied to `(S,)` float32; compression leaves it to the encoder."""
    if how.name == "level":
        return (sound * np.float32(10 ** (how.value / 20))).astype(np.float32)
    if how.name == "noise":
        loudness = float(np.sqrt(np.mean(sound.astype(np.float64) ** 2)))
        hiss = rng.standard_normal(sound.shape, np.float32) * np.float32(loudness * 10 ** (-how.value / 20))
        return np.clip(sound + hiss, -1, 1).astype(np.float32)
    return sound


def _still(path: Path, how: Variant, folder: Path) -> Path:
    with read(path, Request(counts=(1,)), Limits()) as stream:
        rgb = next(iter(stream.frames())).pixels.copy()
    bgr = cv2.cvtColor(changed(rgb, how, _rng(how)), cv2.COLOR_RGB2BGR)
    compress = how.name == "compression"
    target = folder / ("degraded.jpg" if compress else "degraded.png")
    cv2.imwrite(str(target), bgr, [cv2.IMWRITE_JPEG_QUALITY, int(how.value)] if compress else [])
    return target


def _video(path: Path, how: Variant, target: Path) -> Path:
    with av.open(str(path)) as source, av.open(str(target), "w", container_options=EXACT) as out:
        pictures, sound = source.streams.best("video"), source.streams.best("audio")
        encoder = _Encoder(out, pictures, how)
        copied: Any = None if sound is None else out.add_stream_from_template(sound)
        early: list[Any] = []  # sound before the first picture: the file cannot start before its size is known
        for packet in source.demux([stream for stream in (pictures, sound) if stream is not None]):
            if packet.stream is pictures:
                encoder.take(packet)
            elif packet.dts is not None:
                packet.stream = copied
                early.append(packet)
            if encoder.started:
                out.mux(early)
                early.clear()
        encoder.finish()
    return target


class _Encoder:
    """Upright frames, as the service sees them, through one degradation into H.264."""

    def __init__(self, out: Any, pictures: Any, how: Variant) -> None:
        crf = how.value if how.name == "compression" else GENTLE_CRF
        options = {"crf": str(int(crf)), "preset": "veryfast"}
        self.started = False
        self._out, self._how, self._rng = out, how, _rng(how)
        self._aspect = float(pictures.sample_aspect_ratio or 1)
        self._upright: Upright | None = None
        self._stream = out.add_stream("libx264", rate=pictures.average_rate or 25, options=options)
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = pictures.time_base
        context.thread_count = 1  # slices and lookahead depend on the number of threads
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG

    def take(self, packet: Any) -> None:
        for frame in packet.decode():
            drawn = self._redrawn(frame)
            if not self.started:
                self._stream.width, self._stream.height = drawn.width, drawn.height
            self._out.mux(self._stream.encode(drawn))
            self.started = True

    def finish(self) -> None:
        self._out.mux(self._stream.encode(None))

    def _redrawn(self, frame: av.VideoFrame) -> av.VideoFrame:
        self._upright = self._upright or Upright(frame, self._aspect, Limits().working_side)
        rgb = changed(self._upright.pixels(frame), self._how, self._rng)
        even = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode="edge")  # for 4:2:0
        drawn = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        drawn = drawn.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        drawn.pts, drawn.time_base = frame.pts, frame.time_base
        return drawn


def _sound(path: Path, how: Variant, folder: Path) -> Path:
    sound = changed_sound(_samples(path), how, _rng(how))
    compress = how.name == "compression"
    target = folder / ("degraded.mp3" if compress else "degraded.wav")
    with av.open(str(target), "w", container_options=EXACT) as out:
        track: Any = out.add_stream("libmp3lame" if compress else "pcm_s16le", rate=SAMPLE_RATE_HZ)
        track.layout = "mono"
        if compress:
            track.bit_rate = int(how.value * 1000)
        for frame in _blocks(sound):
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    return target


def _samples(path: Path) -> Samples:
    """`(S,)` float32 mono at 16 kHz, what the service makes of any sound before it levels it."""
    with av.open(str(path)) as source:
        mixer = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        frames = [out for frame in source.decode(audio=0) for out in mixer.resample(frame)] + mixer.resample(None)
        return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


def _blocks(sound: Samples) -> Iterator[av.AudioFrame]:
    for start in range(0, len(sound), SAMPLE_RATE_HZ):
        block = np.ascontiguousarray(sound[None, start : start + SAMPLE_RATE_HZ])
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start
        yield frame


def _rng(how: Variant) -> np.random.Generator:
    return np.random.default_rng([SEED, how.strength])
