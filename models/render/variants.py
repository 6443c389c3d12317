"""A still picture changed in six ways that leave a forgery one: what FaceNet's augmented verdict asks."""

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image, ImageOps

from models.errors import UnsupportedMedia
from models.media.facts import Request
from models.media.limits import Limits
from models.media.sniff import STILLS
from models.media.source import Source
from models.media.stream import read

ANGLE = 20.0  # degrees
CUTOFF = (
    10.0  # per cent of the darkest and of the brightest pixels that the automatic contrast takes for black and white
)
DIMMED = 0.8

# By the names and in the order of that service. It brings a picture to 160 x 160 first; here each detector's view does.
CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grayscale": lambda image: image.convert("L").convert("RGB"),
    "rotate_right": lambda image: image.rotate(-ANGLE, Image.Resampling.BICUBIC),
    "rotate_left": lambda image: image.rotate(ANGLE, Image.Resampling.BICUBIC),
    "brightness_up": lambda image: ImageOps.autocontrast(image, cutoff=CUTOFF),
    "brightness_down": lambda image: image.point(lambda value: value * DIMMED),
    "flip_horizontal": ImageOps.mirror,
}


@dataclass(frozen=True, slots=True)
class Variant:
    """A changed picture: by which change, and as the bytes of a PNG file of `size_wh` pixels."""

    change: str
    png: bytes
    size_wh: tuple[int, int]


def variants(source: Source, limits: Limits, cancelled: threading.Event | None = None) -> Iterator[Variant]:
    """Change a still picture in each of the ways of `CHANGES`.

    Args:
        source: a path, or the picture as bytes or `(N,)` uint8.
        limits: what decoding it may cost; the variants are scaled to its `working_side` where the picture is larger.
        cancelled: set by another thread to stop the work.

    Raises:
        UnsupportedMedia: it is no still picture.
        MediaError: it cannot be decoded; it is, in a confined child process. Changed are the pixels that come back.
        Cancelled: `cancelled` was set.
    """
    image = _decoded(source, limits, cancelled)
    for name, change in CHANGES.items():
        yield Variant(name, _png(change(image)), image.size)


def _decoded(source: Source, limits: Limits, cancelled: threading.Event | None) -> Image.Image:
    with read(source, Request(counts=(1,)), limits, cancelled) as stream:
        if stream.probe.container not in STILLS:
            raise UnsupportedMedia(f"The file is no still picture: its format is {stream.probe.container}.")
        return Image.fromarray(next(stream.frames()).pixels.copy())


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)  # read once, on this machine or the next
    return file.getvalue()
