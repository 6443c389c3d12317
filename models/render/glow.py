"""Saliency as colour over a face: which map at which moment, where it lies, and what its levels look like.

The confined child has no OpenCV: colours come from a table, and Pillow resizes.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.faces.square import square_around
from models.render.layout import Rect
from models.types import Heat

Levels = NDArray[np.uint8]

STRONGEST = 0.6  # share of colour at the highest level; at the lowest the picture is as it was
OPACITY = [round(STRONGEST * level) for level in range(256)]  # of 255
# Turbo (Mikhailov, 2019), from blue over green to red: every fifteenth of its 256 colours. Between them straight lines
# stay within six levels of it.
_TURBO = (
    "30123b 3f3e9c 4666dd 458cfd 2fb2f4 1ad4d0 22ebaa 52fa7a 8bff4b "
    "b7f735 dbe236 f5c53a fea130 f9751d e84b0c ce2d04 a91601 7a0403"
)


@cache
def table() -> NDArray[np.uint8]:
    """`(256, 4)` uint8 RGB and alpha of each level."""
    knots = np.frombuffer(bytes.fromhex(_TURBO), np.uint8).reshape(-1, 3)
    levels = np.arange(256)
    at = np.linspace(0, 255, len(knots))
    channels = [np.interp(levels, at, knots[:, channel]) for channel in range(3)]
    return np.asarray(np.rint(np.stack([*channels, OPACITY], axis=1)), np.uint8)


def levels_at(heat: Heat, p_fake: float, t_s: float) -> Levels:
    """The map of one moment: between the two nearest ones, held before the first and after the last, times `p_fake`.

    So the strongest place of every map is as red as its face is fake: on a real one there is next to nothing to see.

    Returns:
        `(h, w)` uint8.
    """
    maps = np.frombuffer(heat.levels, np.uint8).reshape(-1, *heat.size_hw)
    at = float(np.interp(t_s, heat.times_s, np.arange(len(maps))))
    before, share = int(at), at % 1
    after = min(before + 1, len(maps) - 1)
    return np.asarray(np.rint((maps[before] * (1 - share) + maps[after] * share) * p_fake), np.uint8)


def square_of(box_xyxy: NDArray[np.float64], margin: float) -> Rect:
    """What the detector saw around a box, at even coordinates."""
    left, top, side = square_around(box_xyxy, margin)
    left, top, side = (2 * round(value / 2) for value in (left, top, side))
    return Rect(left, top, left + side, top + side)


def inside(square: Rect, size_wh: tuple[int, int]) -> Rect:
    """The part of a square that the picture shows; right or bottom may lie before left or top if there is none."""
    width, height = size_wh
    return Rect(max(square.left, 0), max(square.top, 0), min(square.right, width), min(square.bottom, height))


def stretched(levels_hw: Levels, square: Rect, part: Rect, size_wh: tuple[int, int]) -> Levels:
    """A map stretched over a square, of which only a part is made, in a size of its own; `(height, width)` uint8."""
    rows, columns = levels_hw.shape
    side = square.right - square.left
    x, y = columns / side, rows / side
    box = ((part.left - square.left) * x, (part.top - square.top) * y)
    end = ((part.right - square.left) * x, (part.bottom - square.top) * y)
    resized = Image.fromarray(levels_hw).resize(size_wh, Image.Resampling.BICUBIC, (*box, *end))
    return np.asarray(resized, np.uint8)
