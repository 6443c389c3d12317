"""Finding faces with dlib's HOG detector (Dalal and Triggs, CVPR 2005; King, 2009), which needs no weights file."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from models.faces.crop import resize

# The detector's window is 80 px: a picture 720 px long shows it faces down to a ninth of its longer side, in 20 ms.
SEARCH_SIDE = 720
# Small faces in large pictures are looked for at twice that, at four times the cost.
FINE_SIDE = 1440
# Enlarging by more than this invents no detail the detector could use.
MAX_ENLARGEMENT = 2.0
# A face that is followed is looked for at this size, a little above the detector's window.
FOLLOW_SIDE = 96
# Frontal faces score about 1; below 0.5 many hits are cloth and trees. Where a face was a moment ago, 0 is enough.
NEW_FACE_SCORE = 0.5
KNOWN_FACE_SCORE = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """One detection.

    Attributes:
        box_xyxy: `(4,)` float32 in pixels of the frame, a square as dlib's HOG detector draws it: detectors of this
            project learnt from crops around such boxes, so every finder has to draw the same.
        score: the finder's own; higher is surer.
        points: `(5, 2)` float32, x and y in pixels: the person's right eye and left eye, nose tip, right and left
            corner of the mouth. The person's right is on the left of the picture. None if the finder gives none.
    """

    box_xyxy: NDArray[np.float32]
    score: float
    points: NDArray[np.float32] | None = None


class Finder(Protocol):
    """What finds faces. Keeps no state between calls; not to be used by two threads at once."""

    def search(self, frame_hwc: NDArray[np.uint8], *, fine: bool = False) -> list[Found]:
        """All faces of a `(H, W, 3)` uint8 RGB frame; `fine` looks for smaller ones at four times the cost."""

    def near(self, frame_hwc: NDArray[np.uint8], box_xyxy: NDArray[np.float32]) -> Found | None:
        """The best face near where one was, or None."""


class FaceFinder:
    """The finder that needs no file: dlib's HOG detector, for frontal faces. Gives no points."""

    def __init__(self) -> None:
        self._detector = dlib.get_frontal_face_detector()

    def search(self, frame_hwc: NDArray[np.uint8], *, fine: bool = False) -> list[Found]:
        """All faces of a `(H, W, 3)` uint8 RGB frame, looked at with its longer side scaled to 720 or 1440 pixels."""
        scale = min((FINE_SIDE if fine else SEARCH_SIDE) / max(frame_hwc.shape[:2]), MAX_ENLARGEMENT)
        return self._detect(frame_hwc, scale, (0, 0), NEW_FACE_SCORE)

    def near(self, frame_hwc: NDArray[np.uint8], box_xyxy: NDArray[np.float32]) -> Found | None:
        """The best face within half a box of where one was, or None: a twentieth of a full search's cost."""
        height, width = frame_hwc.shape[:2]
        x0, y0, x1, y1 = (float(v) for v in box_xyxy)
        reach = max(x1 - x0, y1 - y0) * 0.6
        left, top = max(0, int(x0 - reach)), max(0, int(y0 - reach))
        part = frame_hwc[top : min(height, int(y1 + reach)), left : min(width, int(x1 + reach))]
        scale = min(FOLLOW_SIDE / max(x1 - x0, 1.0), MAX_ENLARGEMENT)
        if not part.size:
            return None
        found = self._detect(part, scale, (left, top), KNOWN_FACE_SCORE)
        return max(found, key=lambda f: f.score, default=None)

    def _detect(
        self, part_hwc: NDArray[np.uint8], scale: float, origin_xy: tuple[int, int], threshold: float
    ) -> list[Found]:
        height, width = part_hwc.shape[:2]
        grey = cv2.cvtColor(part_hwc, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)  # a third of the work to resize
        small = resize(grey, (max(1, round(width * scale)), max(1, round(height * scale))))
        rects, scores, _ = self._detector.run(small, 0, threshold)
        corners = [(r.left(), r.top(), r.right(), r.bottom()) for r in rects]
        shift = np.array(origin_xy * 2, np.float32)
        return [
            Found(np.array(box, np.float32) / np.float32(scale) + shift, float(score))
            for box, score in zip(corners, scores, strict=True)
        ]
