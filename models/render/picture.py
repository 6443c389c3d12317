"""A still picture, drawn over at its full size and written in the kind it came in."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

import numpy as np
from PIL import Image, ImageDraw

from models.media.facts import Frame, Request
from models.media.limits import Limits
from models.media.still import still_events
from models.render.glow import Levels, inside, stretched, table
from models.render.layout import Rect
from models.render.overlay import Overlay
from models.render.palette import Rgb
from models.render.scene import Scene
from models.render.sink import cut
from models.render.text import Patch

# What each kind of still picture is written as: photographs as photographs, the others without loss.
WRITTEN_AS = {"jpeg": "JPEG", "heic": "JPEG", "avif": "JPEG", "webp": "JPEG"}
_OPTIONS = {"JPEG": {"quality": 92, "subsampling": 0}, "PNG": {"compress_level": 3}}
_ANY_SIDE = 1 << 20  # the limit on its pixels holds; it is not scaled down


def picture(file: IO[bytes], name: str, scene: Scene, limits: Limits) -> Iterator[bytes]:
    """Draw a scene into a still picture.

    Args:
        file: opened for reading.
        name: its format, as `sniff` tells.
        scene: what is drawn.
        limits: what it may cost.

    Yields:
        Pieces of a JPEG or a PNG, upright, in sRGB, without the source's metadata.

    Raises:
        MediaError: as `still_events`.
    """
    full = replace(limits, working_side=_ANY_SIDE)
    frames = (event for event in still_events(file, name, Request(counts=(1,)), full) if isinstance(event, Frame))
    image = Image.fromarray(next(frames).pixels)
    canvas = _Image(image)
    Overlay(scene, image.size, np.zeros(1)).draw(canvas, 0)
    written, kind = io.BytesIO(), WRITTEN_AS.get(name, "PNG")
    image.save(written, kind, **_OPTIONS[kind])
    yield from cut(written.getvalue())


class _Image:
    """Pillow's picture as a canvas."""

    def __init__(self, image: Image.Image) -> None:
        self._image, self._draw = image, ImageDraw.Draw(image)

    def fill(self, rect: Rect, colour: Rgb) -> None:
        if rect.right > rect.left and rect.bottom > rect.top:
            self._draw.rectangle((rect.left, rect.top, rect.right - 1, rect.bottom - 1), fill=colour)

    def blend(self, patch: Patch, left: int, top: int) -> None:
        overlay = Image.fromarray(patch.rgba)
        self._image.paste(overlay, (left, top), overlay)

    def glow(self, levels_hw: Levels, square: Rect) -> None:
        part = inside(square, self._image.size)
        if min(part.size_wh) > 0:
            overlay = Image.fromarray(table()[stretched(levels_hw, square, part, part.size_wh)])
            self._image.paste(overlay, (part.left, part.top), overlay)
