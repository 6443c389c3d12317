import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.media.windows import covered, cut_windows, window_starts


@pytest.mark.parametrize(
    ("total", "count", "hop", "expected"),
    [
        (10, 4, 0, [0]),  # shorter than a window
        (100, 4, 0, [0]),  # exactly one
        (101, 4, 0, [0, 1]),
        (300, 4, 0, [0, 100, 200]),  # three cover it, a fourth would repeat
        (1000, 4, 0, [0, 300, 600, 900]),
        (1000, 1, 0, [0]),
        (10, 4, 50, [0]),
        (250, 9, 50, [0, 50, 100, 150]),
        (260, 9, 50, [0, 50, 100, 150, 160]),  # the last one ends with the sound
        (1000, 3, 50, [0, 50, 100]),
    ],
)
def test_windows_of_a_hundred_samples_start_where_they_should(
    total: int, count: int, hop: int, expected: list[int]
) -> None:
    assert window_starts(total, 100, count, hop).tolist() == expected


@given(st.integers(1, 5000), st.integers(1, 700), st.integers(1, 40), st.integers(0, 900))
def test_windows_are_at_most_as_many_as_wanted_increase_and_lie_within_the_sound(
    total: int, size: int, count: int, hop: int
) -> None:
    starts = window_starts(total, size, count, hop)
    assert 1 <= len(starts) <= count
    assert starts[0] == 0
    assert np.all(np.diff(starts) > 0)
    assert starts[-1] + size <= max(total, size)


@given(st.integers(1, 5000), st.integers(1, 700))
def test_windows_cover_all_of_the_sound_when_as_many_as_it_takes_are_wanted(total: int, size: int) -> None:
    starts = window_starts(total, size, count=5000)
    assert np.all(np.diff(starts) <= size)
    assert starts[-1] + size >= total


SOUND = np.arange(1, 6, dtype=np.float32)


@pytest.mark.parametrize(
    ("repeat", "expected"), [(False, [1, 2, 3, 4, 5, 0, 0, 0]), (True, [1, 2, 3, 4, 5, 1, 2, 3])], ids=["pad", "repeat"]
)
def test_sound_shorter_than_a_window_is_filled_up(repeat: bool, expected: list[int]) -> None:
    assert cut_windows(SOUND, np.array([0]), 8, repeat=repeat).tolist() == [expected]


def test_windows_hold_the_samples_from_their_starts() -> None:
    assert cut_windows(SOUND, np.array([0, 3]), 2, repeat=False).tolist() == [[1, 2], [4, 5]]


@pytest.mark.parametrize(
    ("starts", "total", "expected"),
    [([0], 60, 60), ([0, 100], 200, 200), ([0, 50], 150, 150), ([0, 300], 400, 200), ([], 100, 0)],
)
def test_how_much_windows_cover_counts_what_overlaps_once(starts: list[int], total: int, expected: int) -> None:
    assert covered(np.array(starts, np.int64), 100, total) == expected
