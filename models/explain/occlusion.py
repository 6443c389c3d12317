"""Occlusion: cover a part, ask again. Works for every detector that looks at pictures, from `encode` and `decide`.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2.
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.detectors.contract import Detector, Rows, Saliency
from models.types import Clip

CELLS = 8  # of the map, along each side
COVERED = 2  # cells along each side of what is covered at once: a quarter of the picture's side
PASSES = (CELLS - COVERED + 1) ** 2  # 49 pictures are encoded per map


class Occlusion:
    """How much the logit of "fake" falls when a part of one picture is covered with the picture's mean colour.

    Args:
        detector: of pictures.
        clip: `(T, H, W, 3)` uint8 RGB. While one row is covered the others stay as they are, because some detectors
            judge all together; they are encoded once for all maps.
        rows_per_pass: how many pictures are encoded at once.
    """

    def __init__(self, detector: Detector, clip: Clip, rows_per_pass: int = PASSES) -> None:
        self._detector = detector
        self._clip = clip
        self._rows_per_pass = rows_per_pass

    def saliency(self, row: int) -> Saliency:
        """One map `(1, 8, 8)`: each place has the mean of what covering it did, and 0 where that raised the logit.

        The logit is the row's own where the detector gives one, else that of the clip.
        """
        features = self._features.copy()
        before = self._logit(features, row)
        falls = []
        for replaced in self._encoded(_covered(self._clip.data[row])):
            features[row] = replaced
            falls.append(before - self._logit(features, row))
        return Saliency.scaled("occlusion", _spread(np.array(falls))[None])

    @cached_property
    def _features(self) -> NDArray[np.float32]:
        return self._encoded(self._clip.data)

    def _encoded(self, rows: Rows) -> NDArray[np.float32]:
        step = self._rows_per_pass
        return np.concatenate([self._detector.encode(rows[at : at + step]) for at in range(0, len(rows), step)])

    def _logit(self, features: NDArray[np.float32], row: int) -> float:
        score = self._detector.decide(features, self._clip.times_s)
        return score.per_frame_logits[row] if score.per_frame_logits else score.logit


def _covered(picture: Rows) -> NDArray[np.uint8]:
    """`(49, H, W, 3)`: the picture with its mean colour over each square in turn."""
    squares = list(_squares(*picture.shape[:2]))
    covered = np.asarray(np.repeat(picture[None], len(squares), axis=0), np.uint8)
    colour = picture.mean(axis=(0, 1)).astype(np.uint8)
    for one, (rows, columns) in zip(covered, squares, strict=True):
        one[rows, columns] = colour
    return covered


def _squares(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """What is covered at each position, as slices of rows and columns."""
    y, x = (np.linspace(0, side, CELLS + 1).round().astype(int) for side in (height, width))
    for top in range(CELLS - COVERED + 1):
        for left in range(CELLS - COVERED + 1):
            yield slice(y[top], y[top + COVERED]), slice(x[left], x[left + COVERED])


def _spread(falls: NDArray[np.float64]) -> NDArray[np.float32]:
    """`(49,)` falls of the logit to `(8, 8)`: their mean over the positions that cover a cell, where it is above 0."""
    positions = CELLS - COVERED + 1
    sums, counts = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for at, fall in enumerate(falls):
        top, left = divmod(at, positions)
        cells = np.s_[top : top + COVERED, left : left + COVERED]
        sums[cells] += fall
        counts[cells] += 1
    return np.maximum(sums / counts, 0).astype(np.float32)
