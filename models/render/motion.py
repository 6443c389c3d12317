"""Where a face is between the frames it was found in."""

import numpy as np
from numpy.typing import NDArray

from models.render.scene import Face

Floats = NDArray[np.float64]

_SLACK_S = 1e-4  # times went through JSON and through a time base
_LOST = 1.75  # times the usual step: a longer gap means that the frames in between did not show the face


def boxes_at(face: Face, times_s: Floats) -> Floats:
    """Where a face is at each of many moments.

    Args:
        face: with its boxes.
        times_s: `(N,)`.

    Returns:
        `(N, 4)` left, top, right, bottom; NaN before the face's first box, after its last, and between two boxes where
        analysed frames did not show it.
    """
    known, rows = np.unique(np.array(face.times_s, np.float64), return_index=True)
    result = np.full((len(times_s), 4), np.nan)
    if not len(known):
        return result
    shown = (times_s >= known[0] - _SLACK_S) & (times_s <= known[-1] + _SLACK_S)
    if face.lost_frames:
        shown &= ~_lost(known, times_s)
    result[shown] = smooth(known, np.array(face.boxes_xyxy, np.float64)[rows], times_s[shown])
    return result


def _lost(known: Floats, times_s: Floats) -> NDArray[np.bool_]:
    """Which of `times_s` lie inside a gap that is longer than the usual step, its ends not included."""
    steps = np.diff(known)
    if not len(steps):
        return np.zeros(len(times_s), bool)
    after = np.searchsorted(known + _SLACK_S, times_s)
    inside = (after > 0) & (after < len(known)) & (np.abs(times_s - known[after.clip(max=len(known) - 1)]) > _SLACK_S)
    lost: NDArray[np.bool_] = inside & (steps[(after - 1).clip(0, len(steps) - 1)] > _LOST * np.median(steps))
    return lost


def smooth(times_s: Floats, values: Floats, at_s: Floats) -> Floats:
    """Values between known ones: smooth, and never beyond the two neighbours.

    The monotone piecewise cubic of Fritsch and Butland (1984): straight lines would turn a corner at every analysed
    frame, and other cubics swing past a face that stops.

    Args:
        times_s: `(K,)`, increasing, at least one.
        values: `(K, D)`.
        at_s: `(N,)`; before the first and after the last of `times_s` the value stays.

    Returns:
        `(N, D)`.
    """
    if len(times_s) == 1:
        return np.repeat(values, len(at_s), axis=0)
    step = np.diff(times_s)[:, None]
    slope = np.diff(values, axis=0) / step
    tangent = np.concatenate([slope[:1], _inner_tangents(step, slope), slope[-1:]])
    at_s = at_s.clip(times_s[0], times_s[-1])
    left = np.searchsorted(times_s, at_s, side="right").clip(1, len(times_s) - 1) - 1
    width, u = step[left], (at_s - times_s[left])[:, None] / step[left]
    start, end = values[left], values[left + 1]
    rise = u * u * (3 - 2 * u)  # the cubic Hermite basis
    bend = u * (1 - u) * ((1 - u) * tangent[left] - u * tangent[left + 1])
    result: Floats = start + rise * (end - start) + width * bend
    return result


def _inner_tangents(step: Floats, slope: Floats) -> Floats:
    """Weighted harmonic means of the slopes on both sides; flat where the direction turns."""
    before, after = slope[:-1], slope[1:]
    weight = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
    same = before * after > 0
    safe = np.where(same, before, 1.0), np.where(same, after, 1.0)
    mean = (weight[0] + weight[1]) * safe[0] * safe[1] / (weight[0] * safe[1] + weight[1] * safe[0])
    return np.where(same, mean, 0.0)
