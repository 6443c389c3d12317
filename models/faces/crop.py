"""Cutting squares out of frames. The same function serves training and serving, so the two cannot differ."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.faces.square import square_around
from models.types import Fit, Resample

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# A picture is at most this many times longer than wide before its short side is scaled and its centre cut: a line of
# 1 x 9000 pixels would else become a gigabyte on the way to its centre.
LONGEST = 8


def face_crop(
    frame_hwc: NDArray[np.uint8],
    box_xyxy: NDArray[np.float32],
    margin: float,
    size: int,
    resample: Resample = "area",
) -> NDArray[np.uint8]:
    """A square crop of one face.

    Args:
        frame_hwc: `(H, W, 3)` uint8 RGB.
        box_xyxy: `(4,)` face box in pixels.
        margin: see `View.margin`.
        size: side of the result in pixels.
        resample: see `View.resample`.

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
    return resize(part, (size, size), resample)


def fit_frame(frame_hwc: NDArray[np.uint8], size: int, fit: Fit, resample: Resample = "area") -> NDArray[np.uint8]:
    """The whole frame as a square.

    Args:
        frame_hwc: `(H, W, 3)` uint8 RGB.
        size: side of the result in pixels.
        fit: see `View.fit`. With Pillow's filters `crop` scales the shorter side to `size` and then cuts the centre,
            as the processors of published models do; pixels at the cut have been mixed with those beyond it.
        resample: see `View.resample`.

    Returns:
        `(size, size, 3)` uint8 RGB.
    """
    shorter = min(frame_hwc.shape[:2])
    if fit == "pad":
        return _padded(frame_hwc, size, resample)
    if fit == "centre":
        return _middle(_mirrored_to(frame_hwc, size), size)
    if fit == "crop" and resample == "area":
        frame_hwc = _middle(frame_hwc, shorter)
    elif fit == "crop":
        frame_hwc = _middle(frame_hwc, LONGEST * shorter)
        height, width = (int(size * side / shorter) for side in frame_hwc.shape[:2])
        frame_hwc = _middle(resize(frame_hwc, (width, height), resample), size)
    return resize(frame_hwc, (size, size), resample)


def resize(image: NDArray[np.uint8], size_wh: tuple[int, int], resample: Resample = "area") -> NDArray[np.uint8]:
    """Resize `(H, W, C)` or `(H, W)` uint8, which may come back as it is.

    `area` is OpenCV's averaging when it shrinks (no aliasing) and linear when it grows; the others are Pillow's, whose
    filters widen when they shrink.
    """
    if image.shape[1::-1] == size_wh:
        return image
    if resample != "area":
        return np.asarray(Image.fromarray(image).resize(size_wh, FILTERS[resample]))
    shrinks = size_wh[0] * size_wh[1] < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, size_wh, interpolation=how).astype(np.uint8, copy=False)


def _middle(image: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    """The centre of a picture, at most that many pixels high and wide."""
    top, left = (max(0, side - most) // 2 for side in image.shape[:2])
    return image[top : top + most, left : left + most]


def _mirrored_to(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The picture, mirrored outward on all sides until neither side is shorter than `size`."""
    missing_y, missing_x = (max(0, size - side) for side in image.shape[:2])
    if not (missing_y or missing_x):
        return image
    beyond = (missing_y // 2, missing_y - missing_y // 2, missing_x // 2, missing_x - missing_x // 2)
    return cv2.copyMakeBorder(image, *beyond, borderType=cv2.BORDER_REFLECT).astype(np.uint8, copy=False)


def _padded(image: NDArray[np.uint8], size: int, resample: Resample) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = size / max(height, width)
    inner = resize(image, (max(1, round(width * scale)), max(1, round(height * scale))), resample)
    canvas = np.zeros((size, size, 3), np.uint8)
    top, left = (size - inner.shape[0]) // 2, (size - inner.shape[1]) // 2
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas
