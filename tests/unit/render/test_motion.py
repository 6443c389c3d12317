from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.render.motion import boxes_at, smooth
from tests.scenes import FACE

TIMES = np.linspace(-0.5, 1.5, 41)


def test_a_face_without_boxes_is_nowhere() -> None:
    assert np.isnan(boxes_at(replace(FACE, times_s=(), boxes_xyxy=()), TIMES)).all()


def test_a_box_is_absent_before_the_first_and_after_the_last_sighting() -> None:
    shown = ~np.isnan(boxes_at(FACE, TIMES)[:, 0])
    assert shown.tolist() == [0 <= round(t, 6) <= 1 for t in TIMES.tolist()]


def test_a_box_is_where_it_was_found_at_the_analysed_frames() -> None:
    assert boxes_at(FACE, np.array([0.0, 1.0])).tolist() == [list(box) for box in FACE.boxes_xyxy]


def test_a_face_seen_once_is_drawn_at_that_frame_only() -> None:
    face = replace(FACE, times_s=(0.5,), boxes_xyxy=FACE.boxes_xyxy[:1])
    assert np.flatnonzero(~np.isnan(boxes_at(face, TIMES)[:, 0])).tolist() == [20]


def test_a_box_is_absent_while_analysed_frames_did_not_show_the_face() -> None:
    times = (0.0, 0.1, 0.2, 0.3, 0.8, 0.9, 1.0)
    face = replace(FACE, times_s=times, boxes_xyxy=FACE.boxes_xyxy[:1] * 7, lost_frames=4)
    shown = ~np.isnan(boxes_at(face, np.array([0.25, 0.3, 0.5, 0.79, 0.8, 0.95]))[:, 0])
    assert shown.tolist() == [True, True, False, False, True, True]


def test_motion_has_no_corner_at_an_analysed_frame() -> None:
    known = np.array([0.0, 1.0, 2.0])
    values = np.array([[0.0], [1.0], [3.0]])
    at = np.array([1 - 2e-5, 1 - 1e-5, 1 + 1e-5, 1 + 2e-5])
    before, _, after = np.diff(smooth(known, values, at)[:, 0]) / np.diff(at)
    assert before == pytest.approx(after, rel=1e-2)


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=12))
def test_motion_never_leaves_the_range_of_its_two_neighbours(heights: list[float]) -> None:
    known = np.arange(len(heights), dtype=np.float64)
    at = np.linspace(0, len(heights) - 1, 10 * len(heights))
    values = smooth(known, np.array(heights)[:, None], at)[:, 0]
    left = np.floor(at).astype(int).clip(max=len(heights) - 2)
    low, high = (
        np.minimum(np.array(heights)[left], np.array(heights)[left + 1]),
        np.maximum(np.array(heights)[left], np.array(heights)[left + 1]),
    )
    slack = 1e-9 * (1 + np.abs(values))
    assert ((values >= low - slack) & (values <= high + slack)).all()
