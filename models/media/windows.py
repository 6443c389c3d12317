"""Windows of a sound track, as voice detectors take it: pieces of one fixed length."""

import numpy as np
from numpy.typing import NDArray

from models.media.audio import Samples

Ints = NDArray[np.int64]


def window_starts(total: int, size: int, count: int, hop: int = 0) -> Ints:
    """Where windows begin.

    Args:
        total: samples of the track.
        size: samples of a window.
        count: windows, at most.
        hop: samples from one start to the next; 0 spreads the windows from the track's beginning to its end.

    Returns:
        `(W,)` int64, strictly increasing: no more than cover the track, and none that reaches beyond its end unless
        the track is shorter than one window. With a hop, `count` windows may end before the track does.
    """
    last = max(total - size, 0)
    if hop:
        return np.minimum(np.arange(min(-(-last // hop) + 1, count), dtype=np.int64) * hop, last)
    needed = min(-(-total // size), count)
    return np.rint(np.linspace(0, last, max(needed, 1))).astype(np.int64)


def covered(starts: Ints, size: int, total: int) -> int:
    """How many of a track's `total` samples lie in at least one window; `starts` increase."""
    ends = np.minimum(starts + size, total)
    return int((ends - np.maximum(starts, np.append(0, ends[:-1]))).clip(0).sum())


def cut_windows(samples: Samples, starts: Ints, size: int, *, repeat: bool) -> NDArray[np.float32]:
    """The windows as `(W, size)` float32.

    Args:
        samples: `(S,)` float32, at least one.
        starts: as `window_starts` gives them.
        size: samples of a window.
        repeat: a track shorter than a window is repeated until it fills it; otherwise silence follows it.
    """
    if len(samples) < size:
        samples = np.resize(samples, size) if repeat else np.pad(samples, (0, size - len(samples)))
    return np.stack([samples[start : start + size] for start in starts])
