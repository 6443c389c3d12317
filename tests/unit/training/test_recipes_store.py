from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.recipes.errors import TrainingError
from training.recipes.store import stored


def row(index: int) -> NDArray[np.uint8]:
    return np.full(3, index, np.uint8)


def test_rows_are_made_in_order_and_read_back(tmp_path: Path) -> None:
    assert stored(tmp_path / "new" / "rows.npy", (4, 3), row, 0, "rows").tolist() == [[i] * 3 for i in range(4)]


def test_rows_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    made: list[int] = []

    def noted(index: int) -> NDArray[np.uint8]:
        made.append(index)
        return row(index)

    for _ in range(2):
        stored(tmp_path / "rows.npy", (4, 3), noted, 0, "rows")
    assert made == [0, 1, 2, 3]


def test_a_file_whose_making_was_stopped_is_gone_on_with(tmp_path: Path) -> None:
    stored(tmp_path / "rows.npy", (4, 3), row, 0, "rows")
    (tmp_path / "rows.rows").write_text("2")
    assert stored(tmp_path / "rows.npy", (4, 3), lambda index: row(index + 10), 0, "rows")[:, 0].tolist() == [
        0,
        1,
        12,
        13,
    ]


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    stored(tmp_path / "rows.npy", (4, 3), row, 0, "rows")
    with pytest.raises(TrainingError, match=r"holds rows of \(4, 3\), not \(5, 3\)"):
        stored(tmp_path / "rows.npy", (5, 3), row, 0, "rows")
