"""68 points of a face (Kazemi and Sullivan, CVPR 2014; dlib), from a file that the operator brings.

The published file was trained on iBUG 300-W, whose terms exclude commercial use: this project neither ships nor fetches
it.
"""

from pathlib import Path

import dlib
import numpy as np
from numpy.typing import NDArray

from models.errors import WeightsError

POINTS = 68


class Landmarks:
    """dlib's shape predictor. May be shared by threads: it only reads.

    Args:
        path: `shape_predictor_68_face_landmarks.dat`.

    Raises:
        WeightsError: it cannot be read, or gives another number of points.
    """

    def __init__(self, path: Path) -> None:
        accepted = "UNMASK_LANDMARKS must name shape_predictor_68_face_landmarks.dat of dlib, unpacked."
        try:
            self._predictor = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise WeightsError(f"{path} cannot be read as a shape predictor: {error}.", accepted) from error
        found = len(self.of(np.zeros((64, 64, 3), np.uint8), np.array([8, 8, 56, 56], np.float32)))
        if found != POINTS:
            raise WeightsError(f"{path} gives {found} points of a face, not {POINTS}.", accepted)

    def of(self, frame_hwc: NDArray[np.uint8], box_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """The `(68, 2)` float32 points, in pixels, of the face in a box of a `(H, W, 3)` uint8 RGB frame."""
        shape = self._predictor(frame_hwc, dlib.rectangle(*(round(float(v)) for v in box_xyxy)))
        return np.array([(point.x, point.y) for point in shape.parts()], np.float32)
