"""Cutting squares out of frames. The same function serves training and serving, so the two cannot differ."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.types import Fit


def square_around(box_xyxy: NDArray[np.float32], margin: float) -> tuple[int, int, int]:
    """The square that holds a face box and its margin.

    Args:
        box_xyxy: `(4,)` in pixels.
        margin: added on each side, as a share of the box's longer side.

    Returns:
        Left, top and side in whole pixels; may reach past the picture's edges.
    """
    x0, y0, x1, y1 = (float(v) for v in box_xyxy)
    side = max(2, round(max(x1 - x0, y1 - y0) * (1 + 2 * margin)))
    return round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2), side


def face_crop(
    frame_hwc: NDArray[np.uint8], box_xyxy: NDArray[np.float32], margin: float, size: int
) -> NDArray[np.uint8]:
    """A square crop of one face.

    Args:
        frame_hwc: `(H, W, 3)` uint8 RGB.
        box_xyxy: `(4,)` face box in pixels.
        margin: see `View.margin`.
        size: side of the result in pixels.

    Returns:
        `(size, size, 3)` uint8 RGB. Where the square reaches past the picture, the picture is mirrored: a black
        border would be a shape that detectors learn.
    """
    left, top, side = square_around(box_xyxy, margin)
    height, width = frame_hwc.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"the box {box_xyxy} lies outside a picture of {width}x{height}")
    part: Any = frame_hwc[y0:y1, x0:x1]
    beyond = (y0 - top, top + side - y1, x0 - left, left + side - x1)
    if any(beyond):
        part = cv2.copyMakeBorder(part, *beyond, borderType=cv2.BORDER_REFLECT)
    return resize(part, (size, size))


def fit_frame(frame_hwc: NDArray[np.uint8], size: int, fit: Fit) -> NDArray[np.uint8]:
    """The whole frame as a square.

    Args:
        frame_hwc: `(H, W, 3)` uint8 RGB.
        size: side of the result in pixels.
        fit: see `View.fit`.

    Returns:
        `(size, size, 3)` uint8 RGB.
    """
    height, width = frame_hwc.shape[:2]
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        frame_hwc = frame_hwc[top : top + side, left : left + side]
    if fit == "pad":
        scale = size / max(height, width)
        inner = resize(frame_hwc, (max(1, round(width * scale)), max(1, round(height * scale))))
        canvas = np.zeros((size, size, 3), np.uint8)
        top, left = (size - inner.shape[0]) // 2, (size - inner.shape[1]) // 2
        canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        return canvas
    return resize(frame_hwc, (size, size))


def resize(image: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize `(H, W, C)` or `(H, W)` uint8: area averaging when it shrinks (no aliasing), linear when it grows."""
    shrinks = size_wh[0] * size_wh[1] < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, size_wh, interpolation=how).astype(np.uint8, copy=False)
