"""One small picture per face track, chosen while the frames pass by: they are not kept."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faces.crop import resize
from models.faces.square import square_around
from models.types import Track

SIDE = 96  # pixels of the longer side: enough to recognise a face, about 3 kB
MARGIN = 0.25  # beyond the face box on each side, as a share of its longer side: hair and chin
QUALITY = 80  # of JPEG
MOST = 16  # tracks that get one, so that answers stay small: those seen most often, then the largest
SHARPNESS_SIDE = 48  # pixels of the square on which sharpness is measured, the same for small and large faces


@dataclass(frozen=True, slots=True)
class _Best:
    quality: float
    pixels: NDArray[np.uint8]


class Thumbnails:
    """Keeps the best sighting of each track.

    The best is the one whose face is large and sharp: the highest product of the box's longer side, which counts up to
    the thumbnail's own size, and of the sharpness of what is inside the box. Of equal ones the first stays.
    """

    def __init__(self) -> None:
        self._best: dict[int, _Best] = {}

    def offer(self, track: int, frame_hwc: NDArray[np.uint8], box_xyxy: NDArray[np.float32]) -> None:
        """Take a sighting into account: `(H, W, 3)` uint8 RGB, and the face's `(4,)` box in its pixels."""
        inside = cut(frame_hwc, box_xyxy, 0.0)
        if not inside.size:
            return
        side = min(SIDE, float(max(box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1])))
        quality = side * sharpness(inside)
        if track not in self._best or quality > self._best[track].quality:
            self._best[track] = _Best(quality, _small(cut(frame_hwc, box_xyxy, MARGIN)))

    def jpegs(self, tracks: Iterable[Track]) -> dict[int, bytes]:
        """Encoded thumbnails by the numbers of their tracks, of at most `MOST`."""
        known = [track for track in tracks if track.number in self._best]
        chosen = sorted(known, key=lambda track: (-len(track.times_s), -_side(track), track.number))[:MOST]
        return {track.number: encoded(self._best[track.number].pixels) for track in chosen}


def cut(frame_hwc: NDArray[np.uint8], box_xyxy: NDArray[np.float32], margin: float) -> NDArray[np.uint8]:
    """The square around a face as far as the picture goes: people are not shown mirrored pixels. May be empty."""
    left, top, side = square_around(box_xyxy, margin)
    return frame_hwc[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]


def sharpness(pixels_hwc: NDArray[np.uint8]) -> float:
    """Standard deviation of the Laplacian of `(H, W, 3)` uint8 RGB in grey, at one size for all.

    Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000 (its square, the variance).
    """
    grey = cv2.cvtColor(resize(pixels_hwc, (SHARPNESS_SIDE, SHARPNESS_SIDE)), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).std())


def encoded(pixels_hwc: NDArray[np.uint8]) -> bytes:
    """`(H, W, 3)` uint8 RGB as a JPEG that holds pixels and nothing else."""
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(pixels_hwc, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return jpeg.tobytes()


def _small(pixels_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy whose longer side is at most `SIDE` pixels; what is smaller is not enlarged."""
    height, width = pixels_hwc.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    return resize(pixels_hwc, (max(1, round(width * scale)), max(1, round(height * scale)))).copy()


def _side(track: Track) -> float:
    sides = track.boxes_xyxy[:, 2:] - track.boxes_xyxy[:, :2]
    return float(sides.max())
