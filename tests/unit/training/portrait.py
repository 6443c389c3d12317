"""The public-domain portrait (NASA, Eileen Collins) that scikit-image carries, as a training portrait."""

from typing import Any

import numpy as np
from skimage import data

from training.portraits import Portrait


def astronaut() -> Portrait:
    """Cut around the face; box and points were measured with dlib and YuNet on the whole picture."""
    picture: Any = data.astronaut  # untyped
    left, top = 90, 0
    rgb = np.ascontiguousarray(picture()[top : top + 270, left : left + 270])
    points = np.array([[203, 104], [247, 104], [224, 128], [204, 143], [243, 144]], np.float32)
    box = np.array([177, 82, 273, 177], np.float32)
    shift = np.array([left, top], np.float32)
    return Portrait("astronaut", rgb, box - np.tile(shift, 2), points - shift)
