import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.faces.align import TEMPLATE, five_point_crop, rectangle_crop, similarity
from models.types import Resample

POINTS = np.array([(60, 70), (100, 66), (84, 95), (66, 118), (102, 114)], np.float32)


def places_in_crop(points: NDArray[np.float64], margin: float, size: int, resample: Resample) -> NDArray[np.float64]:
    """Where dots that were painted at the points come to lie, one crop per dot."""
    found = []
    for point in np.rint(points).astype(int).tolist():
        picture = np.zeros((300, 300, 3), np.uint8)
        cv2.circle(picture, point, 3, (255, 255, 255), -1)
        weight = five_point_crop(picture, points.astype(np.float32), margin, size, resample)[..., 0].astype(float)
        y, x = np.mgrid[:size, :size]
        found.append(((x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()))
    return np.array(found)


@pytest.mark.parametrize(("angle", "scale", "shift"), [(0, 1, (0, 0)), (25, 0.4, (31, -7)), (-140, 2.5, (5, 90))])
def test_a_similarity_is_recovered(angle: float, scale: float, shift: tuple[float, float]) -> None:
    turn = np.deg2rad(angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    found = similarity(POINTS, POINTS @ matrix.T + shift)
    assert found == pytest.approx(np.column_stack([matrix, shift]), abs=1e-4)


def test_no_other_similarity_is_closer() -> None:
    def distance(matrix: NDArray[np.float64]) -> float:
        return float(((POINTS @ matrix[:, :2].T + matrix[:, 2] - places) ** 2).sum())

    places = TEMPLATE * 112 + np.random.default_rng(2).normal(0, 4, (5, 2))
    best = similarity(POINTS, places)
    (a, _, tx), (b, _, ty) = best
    steps = np.random.default_rng(3).normal(0, 0.01, (200, 4))
    others = [[[a + p, -(b + q), tx + r], [b + q, a + p, ty + s]] for p, q, r, s in steps]
    assert distance(best) < min(distance(np.array(other)) for other in others)


def test_points_that_fall_together_give_a_finite_crop() -> None:
    together = np.full((5, 2), 50, np.float32)
    assert five_point_crop(np.zeros((99, 99, 3), np.uint8), together, 0.15, 32, "bilinear").shape == (32, 32, 3)


@pytest.mark.parametrize("resample", ["area", "nearest", "bilinear", "bicubic", "lanczos"])
def test_eyes_nose_and_mouth_come_to_their_places_however_the_head_is_turned(resample: Resample) -> None:
    turn = np.deg2rad(30)
    matrix = 180 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = TEMPLATE @ matrix.T + (120, 40)
    assert places_in_crop(points, 0.0, 112, resample) == pytest.approx(TEMPLATE * 112, abs=0.6)


def test_the_published_scale_of_1_3_is_a_margin_of_0_15() -> None:
    points = TEMPLATE * 112 + 90
    # Published: the places, moved by a margin of (scale - 1) / 2 and shrunk by the scale.
    expected = (TEMPLATE * 256 + 256 * 0.3 / 2) / 1.3
    assert places_in_crop(points, 0.15, 256, "bilinear") == pytest.approx(expected, abs=1.0)


def test_area_averages_where_a_large_face_becomes_small() -> None:
    noise = np.random.default_rng(4).integers(0, 256, (896, 896, 3), np.uint8)
    points = (TEMPLATE * 896).astype(np.float32)
    spread = {how: five_point_crop(noise, points, 0.0, 112, how).std() for how in ("area", "bilinear")}
    assert spread["area"] < spread["bilinear"] / 4


def test_beyond_the_edge_an_aligned_face_is_mirrored_not_black() -> None:
    bright = np.full((100, 100, 3), 200, np.uint8)
    assert (five_point_crop(bright, (TEMPLATE * 90 - 30).astype(np.float32), 0.15, 64, "bilinear") == 200).all()


def test_a_rectangle_holds_its_points_and_the_margin_and_is_squashed() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[40:120, 60:160] = 255
    points = np.array([(80, 60), (140, 100), (100, 70)], np.float32)
    assert (rectangle_crop(picture, points, 20, 50, "nearest") == 255).all()
    assert not (rectangle_crop(picture, points, 24, 50, "nearest") == 255).all()


def test_a_rectangle_ends_at_the_edge_of_the_picture() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    points = np.array([(-30, 5), (90, 30)], np.float32)
    crop = rectangle_crop(picture, points, 5, 40, "nearest")
    assert np.array_equal(crop[:, 0], picture[((np.arange(40) + 0.5) * 35 / 40).astype(int), 0])


def test_a_rectangle_outside_the_picture_is_still_a_crop() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    assert rectangle_crop(picture, np.full((68, 2), 500, np.float32), 5, 16, "nearest").shape == (16, 16, 3)
