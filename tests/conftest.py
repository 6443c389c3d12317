"""What all tests share."""

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from tests.service import running

__all__ = ["portrait", "running"]


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """`(512, 512, 3)` uint8 RGB: astronaut Eileen Collins, NASA, public domain; one frontal face of about 90 px."""
    return np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
