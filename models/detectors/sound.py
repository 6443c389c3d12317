"""What every detector of sound says in the same way: which window of the sound got which logit."""

import numpy as np
from numpy.typing import NDArray

from models.media.limits import SAMPLE_RATE_HZ
from models.types import ClipScore


def judged(
    logits: NDArray[np.float64], times_s: NDArray[np.float64], size: int, clip: float | None = None
) -> ClipScore:
    """The score of a sound from those of its windows.

    Args:
        logits: `(W,)` of windows that were each judged as a whole; W at least 1. Above 0 is fake.
        times_s: `(W,)`, where the windows start, in seconds.
        size: samples of one window at 16 kHz.
        clip: logit of the whole sound; None for the mean of its windows.
    """
    return ClipScore(
        logit=float(logits.mean()) if clip is None else clip,
        per_window_logits=tuple(float(logit) for logit in logits),
        windows_s=tuple((float(start), float(start) + size / SAMPLE_RATE_HZ) for start in times_s),
    )
