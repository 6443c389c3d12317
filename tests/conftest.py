"""What all tests share."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """`(512, 512, 3)` uint8 RGB: astronaut Eileen Collins, NASA, public domain; one frontal face of about 105 px."""
    from skimage import data

    return np.asarray(data.astronaut(), np.uint8)
