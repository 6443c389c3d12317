"""Saliency maps of one detector's clips, by its own method or by occlusion."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from models.detectors.contract import Detector, Saliency, SelfExplaining
from models.explain.occlusion import Occlusion
from models.explain.overlay import blended, png, shown
from models.explain.subject import ROWS, Moments
from models.types import Clip, SaliencyMap

BUDGET_S = 20.0  # no further map is begun after it: occlusion by a large network on a CPU takes that for one


def explain_clips(
    detector: Detector,
    model: str,
    *,
    clips: Sequence[Clip],
    wanted: Sequence[Moments],
    rows_per_pass: int,
    budget_s: float = BUDGET_S,
) -> tuple[SaliencyMap, ...]:
    """Maps of the rows nearest to the moments that are wanted.

    Args:
        detector: of faces or frames.
        model: its id.
        clips: the views it was given, `(T, H, W, 3)` uint8 RGB each.
        wanted: in order of importance.
        rows_per_pass: how many rows it encodes at once.
        budget_s: no further map is begun after so many seconds; there is at least one.
    """
    end_s = time.monotonic() + budget_s
    by_track = {clip.track: clip for clip in clips}
    maps: list[SaliencyMap] = []
    for moments in wanted:
        if clip := by_track.get(moments.track):
            occlusion = Occlusion(detector, clip, rows_per_pass)
            for row in rows_near(clip, moments.times_s):
                if maps and time.monotonic() > end_s:
                    return tuple(maps)
                maps.append(_drawn(model, clip, row, _own(detector, clip, row) or occlusion.saliency(row)))
    return tuple(maps)


def rows_near(clip: Clip, times_s: Sequence[float]) -> tuple[int, ...]:
    """The clip's rows nearest to the times, each once and in their order; without times evenly spread ones."""
    if not times_s:
        return tuple(dict.fromkeys(np.linspace(0, len(clip.times_s) - 1, ROWS + 2).round().astype(int)[1:-1].tolist()))
    nearest: Iterator[int] = (int(np.abs(clip.times_s - t_s).argmin()) for t_s in times_s[:ROWS])
    return tuple(dict.fromkeys(nearest))


def _own(detector: Any, clip: Clip, row: int) -> Saliency | None:
    return detector.saliency(clip.data[row : row + 1]) if isinstance(detector, SelfExplaining) else None


def _drawn(model: str, clip: Clip, row: int, saliency: Saliency) -> SaliencyMap:
    crop = shown(clip.data[row])
    heatmap = blended(crop, saliency.maps[0])
    return SaliencyMap(clip.track, float(clip.times_s[row]), model, saliency.method, png(heatmap), png(crop))
