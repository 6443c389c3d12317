"""Makes a forged layer agree with the picture it goes onto in what must not give it away: colour and sharpness.

A warp, a network or a blend softens, and portraits are sharp: left alone, "soft" would come to mean "fake".
"""

import cv2
import numpy as np
from numpy.typing import NDArray

SHOWS = 0.1  # share of the layer from which a pixel counts as forged
MOST_SHARPENING = 4.0  # unsharp-mask amount; beyond it the layer turns to noise
SHARPENING_SIGMA = 1.0  # px
MOST_BLUR = 2.5  # px of sigma
HALVINGS = 6  # of the searched range: an amount to within 0.06, a blur to within 0.04 px


def match_colour(layer: NDArray[np.uint8], picture: NDArray[np.uint8], mask: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Give the layer the picture's mean and spread of each channel of Lab, both taken where the mask shows.

    Method: Reinhard, Ashikhmin, Gooch and Shirley, "Color Transfer between Images", IEEE CG&A 2001.

    Args:
        layer: `(H, W, 3)` uint8 RGB.
        picture: as `layer`.
        mask: `(H, W)` float32 in [0, 1].
    """
    shown = mask > SHOWS
    if not shown.any():
        return layer
    ours, theirs = _lab(layer), _lab(picture)
    mean, wanted_mean = ours[shown].mean(axis=0), theirs[shown].mean(axis=0)
    spread, wanted_spread = ours[shown].std(axis=0) + 1e-3, theirs[shown].std(axis=0)
    # A flat layer must not have its noise blown up to the picture's contrast.
    moved = (ours - mean) * np.clip(wanted_spread / spread, 0.5, 2) + wanted_mean
    rgb = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB)
    recoloured: NDArray[np.uint8] = np.clip(np.rint(rgb * 255), 0, 255).astype(np.uint8)
    return recoloured


def match_sharpness(
    layer: NDArray[np.uint8], picture: NDArray[np.uint8], mask: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Sharpen or blur the layer until its Laplacian varies as much as the picture's where the mask shows.

    Args:
        layer: `(H, W, 3)` uint8 RGB.
        picture: as `layer`.
        mask: `(H, W)` float32 in [0, 1].

    Returns:
        As `layer`; still softer than the picture where even the strongest sharpening does not reach it. Then the
        picture can be blurred to the layer by the same function, their places changed.
    """
    x0, y0, x1, y1 = _extent(mask)
    if x1 <= x0:
        return layer
    part, shown = np.ascontiguousarray(layer[y0:y1, x0:x1]), mask[y0:y1, x0:x1]
    wanted = laplacian_variance(picture[y0:y1, x0:x1], shown)
    softer = laplacian_variance(part, shown) < wanted
    low, high = 0.0, MOST_SHARPENING if softer else MOST_BLUR
    for _ in range(HALVINGS):
        amount = (low + high) / 2
        short = laplacian_variance(_changed(part, amount, sharpen=softer), shown) < wanted
        low, high = (amount, high) if short == softer else (low, amount)
    return _changed(layer, (low + high) / 2, sharpen=softer)


def laplacian_variance(rgb: NDArray[np.uint8], mask: NDArray[np.float32]) -> float:
    """Variance of the Laplacian of the grey picture where the mask shows: the usual measure of sharpness."""
    laplacian = cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_32F)
    shown = mask > SHOWS
    return float(laplacian[shown].var()) if shown.any() else 0.0


def _changed(rgb: NDArray[np.uint8], amount: float, *, sharpen: bool) -> NDArray[np.uint8]:
    if not sharpen:
        return cv2.GaussianBlur(rgb, (0, 0), max(amount, 0.05)).astype(np.uint8, copy=False)
    soft = cv2.GaussianBlur(rgb, (0, 0), SHARPENING_SIGMA)
    return cv2.addWeighted(rgb, 1 + amount, soft, -amount, 0).astype(np.uint8, copy=False)


def _lab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).astype(np.float32, copy=False)


def _extent(mask: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """The rectangle in which the mask shows: x0, y0, x1, y1."""
    ys, xs = np.nonzero(mask > SHOWS)
    return (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1) if len(xs) else (0, 0, 0, 0)
