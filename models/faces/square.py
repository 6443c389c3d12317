"""The square around a face. Apart from `crop`, because the confined child that draws has no OpenCV."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def square_around(box_xyxy: NDArray[np.floating[Any]], margin: float) -> tuple[int, int, int]:
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
