"""What every detector offers. Architectures satisfy it by shape, not by inheritance."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.types import ClipScore, View


class Detector(Protocol):
    """One detector with its weights loaded, on its device.

    `encode` sees rows of any number of clips at once, so that a replica can batch over requests; `decide` sees
    the features of one clip. Neither keeps state, and a row's features do not depend on its neighbours.
    """

    view: View

    def encode(self, batch: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Features of rows: `(N, H, W, 3)` uint8 RGB or `(N, samples)` float32 in, `(N, D)` float32 out."""

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one clip from its `(T, D)` features and `(T,)` times."""
