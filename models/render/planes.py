"""Drawing on video as it is coded: a plane of light and two of colour at half the size. No picture becomes RGB."""

from __future__ import annotations  # PyAV's classes are generic to the type checker only

from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from models.media.picture import MAX_STRETCH, Orientation, colorspace
from models.render.glow import OPACITY, Levels, inside, stretched, table
from models.render.layout import Rect
from models.render.palette import Rgb
from models.render.text import Patch

Plane = NDArray[np.uint8]
_CODED_AS_IS = frozenset({"yuv420p", "yuvj420p"})
# Shares of red and blue in the light, by colour space (ITU-T H.273, table 4); others are close enough to BT.709 for
# what is drawn.
_SHARES = {int(Colorspace.ITU601): (0.299, 0.114), 9: (0.2627, 0.0593)}
_BT709 = (0.2126, 0.0722)


class Ink:
    """Turns colours and patches into those of one video."""

    def __init__(self, space: int, *, full_range: bool) -> None:
        red, blue = _SHARES.get(space, _BT709)
        light = np.array([red, 1 - red - blue, blue])
        cb, cr = (np.array([0, 0, 1]) - light) / (2 - 2 * blue), (np.array([1, 0, 0]) - light) / (2 - 2 * red)
        scale = np.array([255.0, 255.0, 255.0] if full_range else [219.0, 224.0, 224.0]) / 255
        self._matrix = np.stack([light, cb, cr]) * scale[:, None]
        self._offset = np.array([0.0 if full_range else 16.0, 128.0, 128.0])
        self._mixed: dict[Patch, _Mixed] = {}
        self._solid: dict[Rgb, NDArray[np.uint8]] = {}
        # Of each level of a map, per plane. Pillow looks them up, several times faster than numpy.
        self.glow: list[list[int]] = np.rint(self.yuv(table()[:, :3].astype(np.float64))).astype(int).T.tolist()

    def yuv(self, rgb: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(..., 3)` in [0, 255], from RGB to light and the two colours."""
        return np.asarray((rgb @ self._matrix.T + self._offset).clip(0, 255))

    def solid(self, colour: Rgb) -> NDArray[np.uint8]:
        """A colour as `(3,)` uint8 light and colours; computed once."""
        if colour not in self._solid:
            self._solid[colour] = np.rint(self.yuv(np.array(colour, np.float64))).astype(np.uint8)
        return self._solid[colour]

    def mixed(self, patch: Patch) -> _Mixed:
        """A patch, ready to blend; computed once."""
        if patch not in self._mixed:
            self._mixed[patch] = _Mixed.of(patch, self)
        return self._mixed[patch]


@dataclass(frozen=True, slots=True)
class _Mixed:
    """Per plane: what is added, times 256, and what is kept of the frame, of 256."""

    added: tuple[NDArray[np.uint16], ...]
    kept: tuple[NDArray[np.uint16], ...]

    @classmethod
    def of(cls, patch: Patch, ink: Ink) -> _Mixed:
        alpha = patch.rgba[..., 3] / 255.0
        light, *colours = np.moveaxis(ink.yuv(patch.rgba[..., :3].astype(np.float64)) * alpha[..., None], -1, 0)
        added = (light, *(_halved(colour) for colour in colours))
        kept = (1 - alpha, _halved(1 - alpha), _halved(1 - alpha))
        return cls(
            tuple(np.rint(plane * 256).astype(np.uint16) for plane in added),
            tuple(np.rint(plane * 256).astype(np.uint16) for plane in kept),
        )


def _halved(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(H / 2, W / 2)` means of four."""
    return np.asarray((plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4)


class Planes:
    """A frame to draw on: `(H, W)` light and two `(H / 2, W / 2)` of colour, uint8."""

    def __init__(self, frame: VideoFrame, ink: Ink) -> None:
        self._planes = planes_of(frame)
        self._size = frame.width, frame.height
        self._ink = ink

    def fill(self, rect: Rect, colour: Rgb) -> None:
        """Fill a rectangle; odd corners move to the next even one."""
        values = self._ink.solid(colour)
        left, right = (max(0, min(x // 2, self._size[0] // 2)) for x in (rect.left, rect.right))
        top, bottom = (max(0, min(y // 2, self._size[1] // 2)) for y in (rect.top, rect.bottom))
        for plane, value, finer in zip(self._planes, values, (2, 1, 1), strict=True):
            plane[top * finer : bottom * finer, left * finer : right * finer] = value

    def blend(self, patch: Patch, left: int, top: int) -> None:
        """Blend in a patch at even coordinates inside the frame; what reaches beyond it is left out."""
        mixed = self._ink.mixed(patch)
        for plane, added, kept, finer in zip(self._planes, mixed.added, mixed.kept, (2, 1, 1), strict=True):
            y, x = top // 2 * finer, left // 2 * finer
            part = plane[y : y + added.shape[0], x : x + added.shape[1]]
            height, width = part.shape
            part[:] = (part * kept[:height, :width] + added[:height, :width]) >> 8

    def glow(self, levels_hw: Levels, square: Rect) -> None:
        """Blend in a map, stretched over a square at even coordinates; what reaches beyond the frame is left out."""
        part = inside(square, self._size)
        width, height = part.size_wh
        if min(width, height) <= 0:
            return
        fine, coarse = (Image.fromarray(stretched(levels_hw, square, part, (width // n, height // n))) for n in (1, 2))
        for plane, levels, colours in zip(self._planes, (fine, coarse, coarse), self._ink.glow, strict=True):
            y, x = part.top * levels.height // height, part.left * levels.width // width
            under = plane[y : y + levels.height, x : x + levels.width]
            mixed = Image.composite(levels.point(colours), Image.fromarray(under), levels.point(OPACITY))
            under[:] = np.asarray(mixed)


class UprightPlanes:
    """Copies decoded frames to upright ones of one even size that may be drawn on. Made from the first frame.

    Attributes:
        size_wh: of the upright picture in square pixels; the frames have a row or a column more where it is odd.
        frame_size_wh: of the frames.
        ink: what to draw with.
        tags: how the frames' colours are meant, as the encoder writes it.
    """

    def __init__(self, first: VideoFrame, aspect: float) -> None:
        self._orientation = Orientation.of(first)
        self._reformatter = VideoReformatter()
        stretch = aspect if 1 / MAX_STRETCH <= aspect <= MAX_STRETCH else 1.0
        self._coded_wh = max(1, round(first.width * stretch)), first.height
        width, height = self._coded_wh[::-1] if self._orientation.transpose else self._coded_wh
        self.size_wh = width, height
        self.frame_size_wh = width + width % 2, height + height % 2
        self._space = colorspace(first)
        self._is_full = _is_full(first)
        self.ink = Ink(self._space, full_range=self._is_full)
        self.tags = {
            "colorspace": self._space,
            "color_range": int(ColorRange.JPEG if self._is_full else ColorRange.MPEG),
            "color_primaries": first.color_primaries,
            "color_trc": first.color_trc,
        }

    def of(self, frame: VideoFrame) -> VideoFrame:
        """A new upright frame, `yuv420p`."""
        target = VideoFrame(*self.frame_size_wh, "yuv420p")
        for source, plane in zip(planes_of(self._plain(frame)), planes_of(target), strict=True):
            upright = _turned(source, self._orientation)
            height, width = upright.shape
            plane[:height, :width] = upright
            plane[height:, :width] = plane[height - 1 : height, :width]  # an odd edge is doubled
            plane[:, width:] = plane[:, width - 1 : width]
        return target

    def _plain(self, frame: VideoFrame) -> VideoFrame:
        """Eight bits, colour at half the size, the first frame's size: as most video is coded anyway."""
        fits = (frame.width, frame.height) == self._coded_wh and _is_full(frame) == self._is_full
        if frame.format.name in _CODED_AS_IS and fits:
            return frame
        width, height = self._coded_wh
        return self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="yuv420p",
            src_colorspace=colorspace(frame),
            dst_colorspace=self._space,
            dst_color_range=ColorRange.JPEG if self._is_full else ColorRange.MPEG,
            threads=1,
        )


def planes_of(frame: VideoFrame) -> tuple[Plane, ...]:
    """The frame's own memory: light and two planes of colour, without the padding of rows."""
    return tuple(map(_plane, frame.planes))


def _plane(plane: Any) -> Plane:
    return np.ndarray((plane.height, plane.width), np.uint8, buffer=plane, strides=(plane.line_size, 1))


def _turned(plane: Plane, orientation: Orientation) -> Plane:
    turned = plane.T if orientation.transpose else plane
    return turned[:: -1 if orientation.flip_y else 1, :: -1 if orientation.flip_x else 1]


def _is_full(frame: VideoFrame) -> bool:
    return frame.color_range == int(ColorRange.JPEG) or frame.format.name.startswith("yuvj")
