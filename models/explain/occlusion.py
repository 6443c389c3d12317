"""Occlusion: cover a part, ask again. Works for every detector that looks at pictures, from `encode` and `decide`.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.detectors.contract import Detector, Rows, Saliency
from models.types import Clip

CELLS = 8  # of the map, along each side
COVERED = 2  # cells along each side of what is covered at once: a quarter of the picture's side
PASSES = (CELLS - COVERED + 1) ** 2  # 49 pictures are encoded per map


def occlusion(detector: Detector, clip: Clip, row: int, rows_per_pass: int = PASSES) -> Saliency:
    """How much the logit of "fake" falls when a part of one picture is covered with the picture's mean colour.

    Args:
        detector: of pictures.
        clip: `(T, H, W, 3)` uint8 RGB; the other rows stay as they are, because some detectors judge all together.
        row: which of them. Its own logit is looked at where the detector has one, else that of the clip.
        rows_per_pass: how many pictures are encoded at once.

    Returns:
        One map `(1, 8, 8)`: each place has the mean of what covering it did, and 0 where that raised the logit.
    """
    squares = list(_squares(*clip.data.shape[1:3]))
    covered = np.repeat(clip.data[row][None], len(squares), axis=0)
    colour = clip.data[row].mean(axis=(0, 1)).astype(clip.data.dtype)
    for picture, (rows, columns) in zip(covered, squares, strict=True):
        picture[rows, columns] = colour
    features = _encoded(detector, clip.data, rows_per_pass)
    before = _logit(detector, features, clip, row)
    falls = []
    for replaced in _encoded(detector, covered, rows_per_pass):
        features[row] = replaced
        falls.append(before - _logit(detector, features, clip, row))
    return Saliency.scaled("occlusion", _spread(np.array(falls))[None])


def _squares(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """What is covered at each position, as slices of rows and columns."""
    y, x = (np.linspace(0, side, CELLS + 1).round().astype(int) for side in (height, width))
    for top in range(CELLS - COVERED + 1):
        for left in range(CELLS - COVERED + 1):
            yield slice(y[top], y[top + COVERED]), slice(x[left], x[left + COVERED])


def _encoded(detector: Detector, rows: Rows, rows_per_pass: int) -> NDArray[np.float32]:
    return np.concatenate([detector.encode(rows[at : at + rows_per_pass]) for at in range(0, len(rows), rows_per_pass)])


def _logit(detector: Detector, features: NDArray[np.float32], clip: Clip, row: int) -> float:
    score = detector.decide(features, clip.times_s)
    return score.per_frame_logits[row] if score.per_frame_logits else score.logit


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
