"""Which packets must be decoded to get exactly the frames that decoding everything would give.

Nothing here touches FFmpeg: the packet index is arrays, the plan is positions in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def sample_indices(total: int, count: int) -> Ints:
    """The frames of a view with uniform spacing.

    Args:
        total: frames in the file.
        count: frames wanted, at most.

    Returns:
        `(min(total, count),)` int64, strictly increasing: `linspace(0, total - 1, count)` rounded. Every frame once
        when the file has fewer than wanted; never a repeat.
    """
    if total <= count:
        return np.arange(max(total, 0), dtype=np.int64)
    return np.rint(np.linspace(0, total - 1, max(count, 0))).astype(np.int64)


def union_indices(total: int, counts: Iterable[int]) -> Ints:
    """The frames that at least one of several views wants, increasing."""
    views = [sample_indices(total, count) for count in counts]
    return np.unique(np.concatenate(views)) if views else np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """The video packets of a file in decode order.

    Attributes:
        pts: `(P,)` int64 presentation timestamps in the stream's time base; increasing only in display order.
        is_key: `(P,)` bool, whether decoding can start there.
        is_shown: `(P,)` bool; packets before an edit list's start and hidden reference frames are decoded, not shown.
        exact: whether every packet has a timestamp of its own. If not, frames can only be counted as they come out.
    """

    pts: Ints
    is_key: NDArray[np.bool_]
    is_shown: NDArray[np.bool_]
    exact: bool = True

    def display_order(self) -> Ints:
        """`(F,)` int64: for each shown frame in display order, the position of its packet."""
        shown = np.flatnonzero(self.is_shown)
        return shown[np.argsort(self.pts[shown], kind="stable")] if self.exact else shown


@dataclass(frozen=True, slots=True)
class Run:
    """Packets to decode without a gap.

    Attributes:
        first, last: positions in decode order, both included; `first` is a key frame or 0.
        indices: display indices of the frames that are needed from this run, increasing.
    """

    first: int
    last: int
    indices: tuple[int, ...]

    @property
    def cost(self) -> int:
        """Pictures decoded."""
        return self.last - self.first + 1


def plan_runs(index: PacketIndex, wanted: Ints) -> tuple[Run, ...]:
    """The cheapest decode that yields exactly the wanted frames.

    A frame needs every packet from its key frame up to its own: the last key frame before it in decode order that is
    also displayed no later than it. (Frames shown before an open group's key frame lean on the group before.)

    Args:
        index: the packets.
        wanted: display indices, increasing.

    Returns:
        Runs in order, none overlapping or touching.
    """
    if not len(wanted):
        return ()
    order = index.display_order()
    if not index.exact:
        return (Run(0, len(index.pts) - 1, tuple(wanted.tolist())),)
    keys = np.flatnonzero(index.is_key)
    needs = sorted((_key_of(index, keys, int(order[i])), int(order[i]), int(i)) for i in wanted)
    runs = _joined(needs)
    in_order = all(a.indices[-1] < b.indices[0] for a, b in pairwise(runs))
    # Timestamps that run against the decode order across key frames are no real encoder's: decode from the start.
    return runs if in_order else (Run(0, max(run.last for run in runs), tuple(wanted.tolist())),)


def _key_of(index: PacketIndex, keys: Ints, position: int) -> int:
    before = keys[: np.searchsorted(keys, position, side="right")]
    usable = before[index.pts[before] <= index.pts[position]]
    return int(usable[-1]) if len(usable) else 0


def _joined(needs: list[tuple[int, int, int]]) -> tuple[Run, ...]:
    """Runs out of (first, last, display index), where those that touch become one: no seek between them."""
    runs: list[Run] = []
    for first, last, frame in needs:
        if runs and first <= runs[-1].last + 1:
            run = runs.pop()
            runs.append(Run(run.first, max(run.last, last), tuple(sorted((*run.indices, frame)))))
        else:
            runs.append(Run(first, last, (frame,)))
    return tuple(runs)


def with_neighbours(total: int, wanted: Ints) -> Ints:
    """The wanted frames and those shown just before and after each: a deinterlacer looks at all three."""
    around = np.concatenate([wanted - 1, wanted, wanted + 1])
    return np.unique(around[(around >= 0) & (around < total)])
