"""Saliency drawn over what the detector saw."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faces.crop import resize
from models.render.glow import STRONGEST

MOST_PX = 256  # of the longer side


def shown(crop_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A crop no larger than `MOST_PX` on its longer side; `(H, W, 3)` uint8 RGB."""
    height, width = crop_hwc.shape[:2]
    scale = min(1.0, MOST_PX / max(height, width))
    return resize(crop_hwc, (max(1, round(width * scale)), max(1, round(height * scale))))


def blended(crop_hwc: NDArray[np.uint8], saliency_hw: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map in [0, 1] over a crop, `(H, W, 3)` uint8 RGB, from blue over green to red, the stronger the less clear."""
    height, width = crop_hwc.shape[:2]
    smooth = np.clip(cv2.resize(saliency_hw, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    levels = np.rint(smooth * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    share = STRONGEST * smooth[..., None]
    mixed: NDArray[np.uint8] = np.rint(crop_hwc * (1 - share) + colours * share).astype(np.uint8)
    return mixed


def png(pixels_hwc: NDArray[np.uint8]) -> bytes:
    """`(H, W, 3)` uint8 RGB as a PNG."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels_hwc, cv2.COLOR_RGB2BGR))
    return encoded.tobytes()
