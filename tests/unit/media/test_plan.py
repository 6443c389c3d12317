import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.media.plan import PacketIndex, plan_runs, sample_indices, union_indices, with_neighbours


def _index(pts: list[int], keys: list[int], hidden: list[int] = []) -> PacketIndex:  # noqa: B006 (only read)
    positions = np.arange(len(pts))
    return PacketIndex(np.array(pts), np.isin(positions, keys), ~np.isin(positions, hidden))


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [
        (0, 4, []),
        (1, 4, [0]),
        (3, 4, [0, 1, 2]),
        (4, 4, [0, 1, 2, 3]),
        (10, 1, [0]),
        (10, 0, []),
        (10, 4, [0, 3, 6, 9]),
        (300, 3, [0, 150, 299]),
    ],
)
def test_samples_are_spread_evenly_from_first_to_last(total: int, count: int, expected: list[int]) -> None:
    assert sample_indices(total, count).tolist() == expected


@given(st.integers(0, 5000), st.integers(0, 600))
def test_samples_are_as_many_as_there_are_and_never_repeat(total: int, count: int) -> None:
    indices = sample_indices(total, count)
    assert len(indices) == min(total, count)
    assert np.all(np.diff(indices) > 0)
    assert not len(indices) or (indices[0] >= 0 and indices[-1] < total)


def test_views_share_the_frames_they_have_in_common() -> None:
    assert union_indices(9, (3, 5)).tolist() == [0, 2, 4, 6, 8]
    assert union_indices(9, ()).tolist() == []


def test_display_order_follows_timestamps_and_leaves_out_hidden_packets() -> None:
    assert _index([0, 4, 2, 3, 1], keys=[0], hidden=[3]).display_order().tolist() == [0, 4, 2, 1]


def test_one_run_per_group_from_its_key_frame_to_the_wanted_picture() -> None:
    index = _index(list(range(30)), keys=[0, 10, 20])
    runs = plan_runs(index, np.array([0, 14, 29]))
    assert [(run.first, run.last, run.indices) for run in runs] == [(0, 0, (0,)), (10, 14, (14,)), (20, 29, (29,))]
    assert sum(run.cost for run in runs) == 16


def test_runs_that_touch_become_one() -> None:
    index = _index(list(range(20)), keys=[0, 10])
    assert [(run.first, run.last) for run in plan_runs(index, np.array([9, 10]))] == [(0, 10)]


def test_a_picture_shown_before_an_open_groups_key_frame_needs_the_group_before() -> None:
    # Decode order: I0 P3 B1 B2 | I6 B4 B5 P7; B4 and B5 lean on P3 as well as on I6.
    index = _index([0, 3, 1, 2, 6, 4, 5, 7], keys=[0, 4])
    assert [(run.first, run.last) for run in plan_runs(index, np.array([4]))] == [(0, 5)]
    assert [(run.first, run.last) for run in plan_runs(index, np.array([7]))] == [(4, 7)]


def test_without_timestamps_everything_is_decoded_and_counted() -> None:
    index = PacketIndex(np.zeros(8, np.int64), np.ones(8, bool), np.ones(8, bool), exact=False)
    assert [(run.first, run.last, run.indices) for run in plan_runs(index, np.array([1, 3]))] == [(0, 7, (1, 3))]


def test_timestamps_that_run_backwards_across_key_frames_are_decoded_from_the_start() -> None:
    index = _index([10, 11, 12, 13, 0, 1, 2, 3], keys=[0, 4])
    runs = plan_runs(index, np.array([1, 6]))
    assert [(run.first, run.last, run.indices) for run in runs] == [(0, 5, (1, 6))]


def test_nothing_wanted_costs_nothing() -> None:
    assert plan_runs(_index([0, 1], keys=[0]), np.empty(0, np.int64)) == ()


@given(st.data())
def test_every_wanted_picture_lies_in_a_run_with_its_key_frame(data: st.DataObject) -> None:
    pts = data.draw(st.permutations(range(24)))
    keys = sorted(data.draw(st.sets(st.integers(0, 23))) | {0})
    wanted = np.array(sorted(data.draw(st.sets(st.integers(0, 23), min_size=1))))
    index = _index(list(pts), keys)
    runs = plan_runs(index, wanted)
    order = index.display_order()
    assert [number for run in runs for number in run.indices] == wanted.tolist()
    for run in runs:
        assert all(run.first <= order[number] <= run.last for number in run.indices)
        assert run.first == 0 or run.first in keys


def test_neighbours_stay_within_the_file() -> None:
    assert with_neighbours(10, np.array([0, 5, 9])).tolist() == [0, 1, 4, 5, 6, 8, 9]
