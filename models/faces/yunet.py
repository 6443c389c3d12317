"""Finding faces with YuNet (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023), run by OpenCV.

It finds smaller and more turned faces than the HOG detector, and gives five points of each. Its boxes are taller and
hold the whole face; they are redrawn here as the HOG detector draws them.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import WeightsError
from models.faces.crop import face_crop, resize
from models.faces.find import Found
from models.faces.square import square_around

# The longer side of a picture when it is searched, in 60 ms: of faces 40 px wide in 1080p, 88 of 100 are found.
SEARCH_SIDE = 640
FINE_SIDE = 1280
# A face that is followed fills two fifths of a picture of this side: 5 ms.
NEAR_SIDE = 192
NEAR_MARGIN = 0.6
# Of 1,170 portraits the least sure face scores 0.91; of the cloth below 292 of them, enlarged, four score 0.7, one 0.8.
NEW_FACE_SCORE = 0.8
# Where a face was a moment ago, half is enough.
KNOWN_FACE_SCORE = 0.5
# The overlap above which two boxes are one face, and how many candidates are looked at: OpenCV's default, and enough.
OVERLAP = 0.3
CANDIDATES = 200
# No smaller faces, in pixels of the frame: the HOG detector finds none, so detectors have not seen any.
SMALLEST = 40
# From YuNet's box to the HOG detector's, whose centre and side were fitted as medians over every second of 1,161
# portraits where both find the face. In units of the root of the box's area: the side is BOX_SIDE, the centre lies
# midway between the box's and that of the five points, and BOX_DOWN lower. On the other half of the portraits the boxes
# then overlap by 0.85 (median; intersection over union; as YuNet draws them: 0.70), sides differ by 5.3 % and centres
# by 4.5 % of the side; much of that is the HOG detector's own, whose boxes come in steps of a fifth. The bundled
# detector's p_fake differs by 0.005 on them (median).
BOX_SIDE = 0.908
BOX_DOWN = 0.043


class YuNetFinder:
    """A `Finder` with five points. Deterministic; one thread at a time.

    Args:
        path: YuNet as ONNX with the outputs that `cv2.FaceDetectorYN` reads.

    Raises:
        WeightsError: it is no such file.
    """

    def __init__(self, path: Path) -> None:
        self._whole = _network(path, NEW_FACE_SCORE)
        # Apart: a network is laid out anew whenever the size of its input changes.
        self._near = _network(path, KNOWN_FACE_SCORE)

    def search(self, frame_hwc: NDArray[np.uint8], *, fine: bool = False) -> list[Found]:
        """All faces of a `(H, W, 3)` uint8 RGB frame, looked at with its longer side at most 640 or 1280 pixels."""
        height, width = frame_hwc.shape[:2]
        scale = min((FINE_SIDE if fine else SEARCH_SIDE) / max(height, width), 1.0)
        small = resize(frame_hwc, (max(1, round(width * scale)), max(1, round(height * scale))))
        return _found(_rows(self._whole, small), scale, (0, 0), frame_hwc)

    def near(self, frame_hwc: NDArray[np.uint8], box_xyxy: NDArray[np.float32]) -> Found | None:
        """The best face within 0.6 of a box of where one was, or None: a twelfth of a full search's cost."""
        left, top, side = square_around(box_xyxy, NEAR_MARGIN)
        part = face_crop(frame_hwc, box_xyxy, NEAR_MARGIN, NEAR_SIDE)
        found = _found(_rows(self._near, part), NEAR_SIDE / side, (left, top), frame_hwc)
        return max(found, key=lambda hit: hit.score, default=None)


def hog_box(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """The `(4,)` box that the HOG detector would draw, of YuNet's `(15,)` row: x, y, width, height, points, score."""
    unit = np.sqrt(row[2] * row[3])
    points = row[4:14].reshape(5, 2)
    centre = (row[:2] + row[2:4] / 2 + points.mean(axis=0)) / 2 + np.array([0, BOX_DOWN * unit], np.float32)
    half = BOX_SIDE * unit / 2
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def _network(path: Path, threshold: float) -> Any:
    try:
        network = cv2.FaceDetectorYN.create(str(path), "", (NEAR_SIDE, NEAR_SIDE), threshold, OVERLAP, CANDIDATES)
        _rows(network, np.zeros((NEAR_SIDE, NEAR_SIDE, 3), np.uint8))
    except (cv2.error, RuntimeError) as error:
        raise WeightsError(f"{path} is not YuNet as ONNX: {str(error).strip()}") from error
    return network


def _rows(network: Any, picture_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`(N, 15)` float32 rows of YuNet for a `(H, W, 3)` uint8 RGB picture, in its pixels."""
    network.setInputSize(picture_hwc.shape[1::-1])
    _, rows = network.detect(cv2.cvtColor(picture_hwc, cv2.COLOR_RGB2BGR))
    return np.zeros((0, 15), np.float32) if rows is None else rows


def _found(
    rows: NDArray[np.float32], scale: float, origin_xy: tuple[int, int], frame_hwc: NDArray[np.uint8]
) -> list[Found]:
    """Detections in pixels of the frame: large enough, and not in what was mirrored beyond its edges."""
    height, width = frame_hwc.shape[:2]
    found = []
    for row in rows:
        row[:14] /= scale
        box = hog_box(row) + np.array(origin_xy * 2, np.float32)
        x, y = (box[:2] + box[2:]) / 2
        if box[2] - box[0] >= SMALLEST and 0 <= x < width and 0 <= y < height:
            points = row[4:14].reshape(5, 2) + np.array(origin_xy, np.float32)
            found.append(Found(box, float(row[14]), points))
    return found
