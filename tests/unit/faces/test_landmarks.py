from pathlib import Path

import numpy as np
import pytest

from models.errors import WeightsError
from models.faces.landmarks import Landmarks
from tests.unit.faces.predictor import HIGH, LOW, write_predictor

BOX = np.array([40, 60, 140, 160], np.float32)


def test_there_are_68_points_where_the_predictor_puts_them_in_the_box(tmp_path: Path) -> None:
    frame = np.zeros((200, 200, 3), np.uint8)
    frame.flags.writeable = False
    points = Landmarks(write_predictor(tmp_path / "68.dat")).of(frame, BOX)
    assert points.shape == (68, 2)
    assert points[0] == pytest.approx(BOX[:2] + LOW * 100, abs=2)
    assert points[-1] == pytest.approx(BOX[:2] + HIGH * 100, abs=2)


def test_a_predictor_of_another_number_of_points_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gives 5 points of a face, not 68"):
        Landmarks(write_predictor(tmp_path / "5.dat", points=5))


@pytest.mark.parametrize("content", [None, b"", b"not a predictor"])
def test_a_file_that_is_no_predictor_is_named_with_its_setting(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "wrong.dat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"wrong\.dat cannot be read.*UNMASK_LANDMARKS"):
        Landmarks(path)
