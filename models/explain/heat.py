"""Maps over time of the faces that decided, for drawing: many and coarse, where `maps` makes few as pictures."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.detectors.catalogue import Catalogue, ModelRow
from models.detectors.contract import Detector, SelfExplaining
from models.explain.evidence import explained_by, to_explain
from models.types import Clip, Heat, Verdict

MOMENTS = 16  # per face: as many as `mobilenet-sbi-v1` analyses, at 0.03 s each on one core
BUDGET_S = 10.0  # no further map is begun after it
_STRIDES = (8, 4, 2, 1)  # coarse first, so that the maps of a slow network still span the clip


def heated_by(verdict: Verdict, catalogue: Catalogue) -> tuple[ModelRow, ...]:
    """Detectors that decided, and saw faces as upright squares around their boxes: only there can a map be put back."""
    rows = map(catalogue.row, explained_by(verdict))
    return tuple(row for row in rows if (row.view.region, row.view.align) == ("face", "box"))


def heated_tracks(verdict: Verdict) -> tuple[int, ...]:
    """The faces that maps are made of, the one that decided first."""
    return tuple(moments.track for moments in to_explain(verdict) if moments.track is not None)


def with_heat(verdict: Verdict, heat: Sequence[Heat]) -> Verdict:
    """The verdict with heat in its evidence."""
    return replace(verdict, evidence=replace(verdict.evidence, heat=tuple(heat)))


def heat_clips(
    detector: Detector, clips: Sequence[Clip], tracks: Sequence[int], budget_s: float = BUDGET_S
) -> tuple[Heat, ...]:
    """Maps of up to 16 rows of each face, by the detector's own method: occlusion would take minutes.

    Args:
        detector: of squares around face boxes.
        clips: the views it was given, `(T, H, W, 3)` uint8 RGB each.
        tracks: the faces, in order of importance.
        budget_s: no further map is begun after so many seconds; there is at least one.

    Returns:
        None where the detector has no method of its own.
    """
    end_s = time.monotonic() + budget_s
    by_track = {clip.track: clip for clip in clips}
    found: list[Heat] = []
    for track in tracks:
        if clip := by_track.get(track):
            maps = dict(_maps(detector, clip, end_s, at_least=0 if found else 1))
            if maps:
                found.append(_heat(detector.view.margin, track, clip, maps))
    return tuple(found)


def spread_rows(rows: int) -> tuple[int, ...]:
    """Up to 16 rows, evenly spread from first to last, coarse first."""
    even: list[int] = np.linspace(0, rows - 1, min(rows, MOMENTS)).round().astype(int).tolist()
    return tuple(dict.fromkeys(row for stride in _STRIDES for row in even[::stride]))


def _maps(detector: Any, clip: Clip, end_s: float, at_least: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Rows with their maps until the time is over."""
    if not isinstance(detector, SelfExplaining):
        return
    for done, row in enumerate(spread_rows(len(clip.times_s))):
        if done >= at_least and time.monotonic() > end_s:
            return
        saliency = detector.saliency(clip.data[row : row + 1])
        if saliency is None:
            return
        yield row, saliency.maps[0]


def _heat(margin: float, track: int, clip: Clip, maps: dict[int, NDArray[np.float32]]) -> Heat:
    rows = sorted(maps)
    levels = np.rint(np.stack([maps[row] for row in rows]) * 255).astype(np.uint8)
    height, width = levels.shape[1:]
    return Heat(track, margin, tuple(clip.times_s[rows].tolist()), (height, width), levels.tobytes())
