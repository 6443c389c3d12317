"""Cutting a face out by points of it: turned upright by five of them, or the rectangle around 68.

The five places are those that ArcFace and RetinaFace are trained and published with (Deng et al., CVPR 2019 and 2020).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faces.crop import resize
from models.types import Resample

# In a square of side 1: eyes, nose, corners of the mouth; of a pair the person's right one, left in the picture, first.
TEMPLATE = (
    np.array(
        [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)], np.float64
    )
    / 112
)
_INTERPOLATION = {
    "area": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}
_MOST_SAMPLES = 8  # per pixel and axis, when a large face is averaged into a small crop


def similarity(points: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The turn, scale and shift that bring points closest to places (least squares: Umeyama, 1991, without mirroring).

    Args:
        points: `(N, 2)`, x and y; not all the same.
        places: `(N, 2)`.

    Returns:
        `(2, 3)` float64: `places ~ points @ m[:, :2].T + m[:, 2]`.
    """
    # As complex numbers, turning and scaling are one factor.
    z, w = (p.astype(np.float64) @ np.array([1, 1j]) for p in (points, places))
    spread = z - z.mean()
    factor = (spread.conj() @ (w - w.mean())) / max(float(np.abs(spread) @ np.abs(spread)), 1e-9)
    shift = w.mean() - factor * z.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def five_point_crop(
    frame_hwc: NDArray[np.uint8], points: NDArray[np.float32], margin: float, size: int, resample: Resample
) -> NDArray[np.uint8]:
    """A face turned and scaled so that eyes, nose and mouth come to lie at fixed places.

    Args:
        frame_hwc: `(H, W, 3)` uint8 RGB.
        points: `(5, 2)` as in `Found`.
        margin: added around the square of `TEMPLATE` on each side, as a share of its side. What is published as
            `scale` is `1 + 2 * margin`: 1.3 is 0.15.
        size: side of the result in pixels, margins included.
        resample: how OpenCV interpolates; `bilinear` is what published pipelines use, which skips pixels of large
            faces. `area` does not: it averages several samples per pixel.

    Returns:
        `(size, size, 3)` uint8 RGB; mirrored where it reaches past the picture, as `face_crop`.
    """
    warp = similarity(points, (TEMPLATE + margin) / (1 + 2 * margin) * size)
    samples = 1
    if resample == "area":
        samples = int(np.clip(np.ceil(1 / max(np.hypot(*warp[:, 0]), 1e-9)), 1, _MOST_SAMPLES))
    # Centres of pixels are whole numbers to OpenCV: a finer grid begins half a fine pixel before the first of them.
    warp = warp * samples + np.array([[0, 0, (samples - 1) / 2]] * 2)
    large = cv2.warpAffine(
        frame_hwc, warp, (size * samples,) * 2, flags=_INTERPOLATION[resample], borderMode=cv2.BORDER_REFLECT
    )
    return resize(large.astype(np.uint8, copy=False), (size, size))


def rectangle_crop(
    frame_hwc: NDArray[np.uint8], points: NDArray[np.float32], margin_px: float, size: int, resample: Resample
) -> NDArray[np.uint8]:
    """The rectangle around points, squashed into a square.

    Args:
        frame_hwc: `(H, W, 3)` uint8 RGB.
        points: `(N, 2)`, x and y in pixels.
        margin_px: added on each side, in pixels; what reaches past the picture is left out.
        size: side of the result in pixels.
        resample: see `View.resample`.

    Returns:
        `(size, size, 3)` uint8 RGB.
    """
    height, width = frame_hwc.shape[:2]
    low = np.floor(points.min(axis=0) - margin_px).clip(0, (width - 1, height - 1)).astype(int)
    high = np.ceil(points.max(axis=0) + margin_px).clip(low + 1, (width, height)).astype(int)
    return resize(np.ascontiguousarray(frame_hwc[low[1] : high[1], low[0] : high[0]]), (size, size), resample)
