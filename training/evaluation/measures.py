"""What can be measured of a file without any detector: the shortcuts that fake a good figure."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import MediaError
from models.media import Frame, Limits, Probe, Request
from models.media.confined import decode_confined
from models.media.facts import Sound
from models.media.source import open_source

NAMES = {
    "size_bytes": "file size",
    "bit_rate": "bit rate",
    "bits_per_pixel": "bits per pixel",
    "duration_s": "duration",
    "width": "width",
    "sharpness": "sharpness",
    "loudness_db": "loudness",
}
"""The measures and what they are called in words."""
REQUEST = Request(counts=(3,), audio=True)  # the first, the middle and the last frame
SILENCE_DB = -120.0  # below the last bit of 16, so that digital silence has a number


@dataclass(frozen=True, slots=True)
class Measures:
    """None where there is no such thing: a picture has no duration, a recording no width.

    Attributes:
        size_bytes: of the file.
        bit_rate: bits per second of the whole file.
        bits_per_pixel: bits of the file for each pixel it shows.
        duration_s: of the pictures, or of the sound alone.
        width: of the upright picture, pixels.
        sharpness: variance of the Laplacian of the middle frame's grey levels (Pech-Pacheco et al., ICPR 2000), at
            the size the service works at: at most 1920 pixels.
        loudness_db: root mean square of the sound as it was recorded, dB of full scale.
    """

    size_bytes: int
    bit_rate: float | None = None
    bits_per_pixel: float | None = None
    duration_s: float | None = None
    width: int | None = None
    sharpness: float | None = None
    loudness_db: float | None = None


def measure(path: Path, limits: Limits) -> Measures:
    """Measure one file; only its size is known of one that cannot be decoded whole, though a detector may cope with it.

    Args:
        path: the file.
        limits: that the decoder holds it to.
    """
    size_bytes = path.stat().st_size
    try:
        probe, sharp, power = _decoded(path, limits)
    except MediaError:
        return Measures(size_bytes)
    pixels = probe.width * probe.height * max(probe.frames_total, 1)
    return Measures(
        size_bytes=size_bytes,
        bit_rate=size_bytes * 8 / probe.duration_s if probe.duration_s else None,
        bits_per_pixel=size_bytes * 8 / pixels if pixels else None,
        duration_s=probe.duration_s or None,
        width=probe.width or None,
        sharpness=sharp[len(sharp) // 2] if sharp else None,
        loudness_db=None if power is None else loudness(power),
    )


def _decoded(path: Path, limits: Limits) -> tuple[Probe, list[float], float | None]:
    """The probe, the sharpness of three frames, and the mean power of the sound before it is levelled."""
    probe, sharp, squares, samples = Probe(""), [], 0.0, 0
    fd = open_source(path)
    try:
        for event in decode_confined(fd, REQUEST, limits):
            if isinstance(event, Probe):
                probe = event
            elif isinstance(event, Frame):
                sharp.append(sharpness(event.pixels))
            elif isinstance(event, Sound):
                squares += float(np.sum(event.samples.astype(np.float64) ** 2))
                samples += len(event.samples)
    finally:
        os.close(fd)
    return probe, sharp, squares / samples if samples else None


def sharpness(rgb: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of `(H, W, 3)` uint8 RGB, in squared grey levels."""
    return float(cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def loudness(power: float) -> float:
    """A mean power as dB of full scale."""
    return max(10 * math.log10(power), SILENCE_DB) if power else SILENCE_DB
