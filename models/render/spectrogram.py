"""A recording as a picture: which pitches sound when, and the scores over them."""

import io
from collections.abc import Iterator

import numpy as np
from numpy.fft import rfft  # here: numpy would import it when it is used, which the confined child may not
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.errors import CorruptMedia
from models.media.audio import Samples, sound_blocks
from models.media.container import Media
from models.media.limits import SAMPLE_RATE_HZ
from models.render.palette import FAKE, INK, PAPER, SOUND, UNSCORED, curve_colour
from models.render.scene import Scene
from models.render.sink import cut
from models.render.strip import clock
from models.render.text import banner, width_of, write

_WIDTH, _HEIGHT = 1600, 900
_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 150, 1530, 820  # of the plot, in pixels
_TEXT_PX, _SMALL_PX = 26, 18
_WINDOW = 1024  # samples, 64 ms: separates the harmonics of a voice
_MELS = 160
_RANGE_DB = 75.0  # from the loudest to black
_LOOKS = 6  # windows per column of pixels at most: half an hour needs no more to be seen
_SPAN_SHARE = 0.012  # of the plot's height: the bar of a stretch above the threshold
_STEPS_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120)
_MOST_TICKS = 12
_PITCHES_HZ = (250, 500, 1000, 2000, 4000, 8000)
# Perceptually even steps from black through violet and orange to pale yellow, after matplotlib's "inferno".
_RAMP = np.array([(4, 4, 12), (60, 15, 90), (145, 40, 100), (215, 75, 60), (250, 155, 20), (252, 250, 190)], np.float64)


def spectrogram(media: Media, scene: Scene) -> Iterator[bytes]:
    """Draw a recording's spectrum and the scores over it.

    Args:
        media: an open file with a sound track.
        scene: what is drawn.

    Yields:
        Pieces of a PNG of 1600 x 900 pixels.

    Raises:
        MediaError: as `decode`.
    """
    media.require_anything()
    blocks = [block.copy() for block in sound_blocks(media, media.walk().audio_start_pts)]
    if not blocks:
        raise CorruptMedia(f"None of the {media.audio_codec} sound could be decoded.")
    written = io.BytesIO()
    _Plot(np.concatenate(blocks), scene).image.save(written, "PNG", compress_level=6)
    yield from cut(written.getvalue())


def log_mel(samples: Samples, columns: int, rows: int) -> NDArray[np.float64]:
    """How loud each pitch is over time.

    Args:
        samples: `(S,)` float32 mono at 16 kHz.
        columns: moments, spread evenly.
        rows: pitches, evenly on the mel scale (HTK's) from 0 to 8 kHz.

    Returns:
        `(rows, columns)` float64 decibels below the loudest, at least -75; the highest pitch first.
    """
    padded = np.pad(samples, _WINDOW // 2)
    looks = max(1, min(_LOOKS, len(samples) // max(columns, 1) // (_WINDOW // 2)))
    centres = np.linspace(0, len(padded) - _WINDOW, columns * looks).astype(np.int64)
    power = np.zeros((columns, _WINDOW // 2 + 1))
    window = np.hanning(_WINDOW)
    for look in range(looks):
        pieces = padded[centres[look::looks, None] + np.arange(_WINDOW)]
        power += np.abs(rfft(pieces * window)) ** 2
    mel = np.log10(np.maximum(_mel_filters(rows) @ power.T, 1e-12)) * 10
    return np.asarray(np.maximum(mel - mel.max(), -_RANGE_DB)[::-1])


def _mel_filters(rows: int) -> NDArray[np.float64]:
    """`(rows, bins)` triangles, each reaching at least one bin; what is loud alike looks alike at every pitch."""
    edges = _hz(np.linspace(0, _mel(SAMPLE_RATE_HZ / 2), rows + 2))
    bins = np.linspace(0, SAMPLE_RATE_HZ / 2, _WINDOW // 2 + 1)
    step = bins[1]
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - left) / np.maximum(centre - left, step)
    falling = (right - bins) / np.maximum(right - centre, step)
    triangles = np.maximum(np.minimum(np.minimum(rising, falling) + (right - left < 2 * step), 1.0), 0.0)
    return np.asarray(triangles / np.maximum(triangles.sum(1, keepdims=True), 1e-9))


def _mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700 * (10 ** (mel / 2595) - 1))


class _Plot:
    """The picture, drawn in order: ground, spectrum, axes, scores, verdict."""

    def __init__(self, samples: Samples, scene: Scene) -> None:
        self._scene, self._length_s = scene, len(samples) / SAMPLE_RATE_HZ
        self.image = Image.new("RGB", (_WIDTH, _HEIGHT), INK)
        self._draw = ImageDraw.Draw(self.image)
        self._spectrum(samples)
        self._time_axis()
        self._pitch_axis()
        self._score_axis()
        self._scores()
        verdict = Image.fromarray(banner(scene, _TEXT_PX, _WIDTH - 2 * _LEFT).rgba)
        self.image.paste(verdict, (_LEFT, 16), verdict)

    def _spectrum(self, samples: Samples) -> None:
        loud = log_mel(samples, _RIGHT - _LEFT, _MELS) / _RANGE_DB + 1
        stops = np.linspace(0, 1, len(_RAMP))
        colours = np.stack([np.interp(loud, stops, _RAMP[:, channel]) for channel in range(3)], -1)
        spectrum = Image.fromarray(colours.astype(np.uint8))
        size = _RIGHT - _LEFT, _BOTTOM - _TOP
        self.image.paste(spectrum.resize(size, Image.Resampling.BILINEAR), (_LEFT, _TOP))

    def _time_axis(self) -> None:
        step_s = next((step for step in _STEPS_S if self._length_s / step <= _MOST_TICKS), _STEPS_S[-1])
        in_minutes = self._length_s >= 60  # noqa: PLR2004
        for t_s in np.arange(0, self._length_s + 1e-9, step_s).tolist():
            x, words = self._x(t_s), clock(t_s) if in_minutes and t_s >= 10 else f"{t_s:g} s"  # noqa: PLR2004
            self._draw.line((x, _BOTTOM, x, _BOTTOM + 8), fill=UNSCORED, width=2)
            write(self.image, (x - width_of(words, _SMALL_PX) / 2, _BOTTOM + 24), words, _SMALL_PX, PAPER)

    def _pitch_axis(self) -> None:
        for hz in _PITCHES_HZ:
            y = _BOTTOM - (_BOTTOM - _TOP) * _mel(hz) / _mel(SAMPLE_RATE_HZ / 2)
            words = f"{hz} Hz" if hz < 1000 else f"{hz // 1000} kHz"  # noqa: PLR2004
            self._draw.line((_LEFT - 6, y, _LEFT, y), fill=UNSCORED, width=2)
            write(self.image, (_LEFT - 12 - width_of(words, _SMALL_PX), y), words, _SMALL_PX, PAPER)

    def _score_axis(self) -> None:
        write(self.image, (_RIGHT - width_of("p(fake)", _SMALL_PX), _TOP - 16), "p(fake)", _SMALL_PX, SOUND)
        for p_fake in sorted({0.0, self._scene.real_below, self._scene.fake_above, 1.0}):
            y = self._y(p_fake)
            self._draw.line((_LEFT, y, _RIGHT, y), fill=UNSCORED, width=1)
            write(self.image, (_RIGHT + 10, y), f"{p_fake:.2f}", _SMALL_PX, PAPER)

    def _scores(self) -> None:
        for span in self._scene.spans:
            left, right = self._x(span.start_s), self._x(span.end_s)
            top = _BOTTOM - (_BOTTOM - _TOP) * _SPAN_SHARE
            self._draw.rectangle((left, top, max(right, left + 4), _BOTTOM), fill=FAKE)
        for curve in self._scene.curves:
            points = [(self._x(t), self._y(p)) for t, p in zip(curve.times_s, curve.p_fake, strict=True)]
            for colour, line in ((INK, 9), (curve_colour(curve.name, self._scene), 4)):
                self._draw.line(points, fill=colour, width=line, joint="curve")
                for x, y in points:
                    self._draw.ellipse((x - line, y - line, x + line, y + line), fill=colour)

    def _x(self, t_s: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * min(max(t_s / max(self._length_s, 1e-9), 0.0), 1.0)

    def _y(self, p_fake: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * p_fake
