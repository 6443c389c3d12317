from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.training.portrait import astronaut
from training.augment import degrade, draw_degradation
from training.forgeries.face_swap import (
    CONTROL,
    piecewise_maps,
    poisson,
    similar_face,
    similarity,
    similarity_maps,
    swap_faces,
    triangles,
)
from training.portraits import Portrait

SEEDS = range(8)


def stranger() -> Portrait:
    """Somebody else: mirrored, browner, narrower and turned by ten degrees."""
    face = astronaut()
    height, width = face.rgb.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 10, 1)
    change = turn @ np.array([[-0.9, 0, 0.95 * width], [0, 1, 0], [0, 0, 1]])
    moved = cv2.warpAffine(face.rgb, change, (width, height), borderMode=cv2.BORDER_REFLECT)
    rgb: NDArray[np.uint8] = np.clip(moved * [0.7, 0.6, 0.55], 0, 255).astype(np.uint8)
    points = face.points @ change[:, :2].T + change[:, 2]
    return Portrait("stranger", rgb, face.box_xyxy, points[[1, 0, 2, 4, 3]].astype(np.float32))


@pytest.mark.parametrize("seed", SEEDS)
def test_swapping_changes_the_face_and_nothing_outside_the_mask(seed: int) -> None:
    pair = swap_faces(astronaut(), stranger(), np.random.default_rng(seed))
    change = np.abs(pair.real.astype(int) - pair.forged).max(axis=2)
    assert pair.forged.dtype == np.uint8
    assert change[pair.mask == 0].max() == 0
    assert 5 < change[pair.mask > 0.5].mean() < 90


@pytest.mark.parametrize("seed", SEEDS)
def test_the_swapped_face_has_the_targets_brightness(seed: int) -> None:
    pair = swap_faces(astronaut(), stranger(), np.random.default_rng(seed))
    inside = pair.mask > 0.5
    assert pair.forged[inside].mean() == pytest.approx(pair.real[inside].mean(), abs=25)


def test_equal_seeds_swap_equally_and_others_do_not() -> None:
    first, again, other = (swap_faces(astronaut(), stranger(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.forged, again.forged)
    assert not np.array_equal(first.forged, other.forged)


def test_swapping_leaves_both_portraits_as_they_were() -> None:
    target, source = astronaut(), stranger()
    before = target.rgb.copy(), source.rgb.copy()
    swap_faces(target, source, np.random.default_rng(0))
    assert np.array_equal(target.rgb, before[0])
    assert np.array_equal(source.rgb, before[1])


def test_softness_after_the_same_history_does_not_give_the_swap_away() -> None:
    target, source, sharpness = astronaut(), stranger(), []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pair, how = swap_faces(target, source, rng), draw_degradation(rng)
        crops = (degrade(rgb, target.box_xyxy, how, 0.3, 160) for rgb in (pair.real, pair.forged))
        sharpness.append([cv2.Laplacian(crop, cv2.CV_32F).var() for crop in crops])
    real, forged = np.mean(sharpness, axis=0)
    assert forged == pytest.approx(real, rel=0.25)


def test_a_similarity_is_found_again_from_the_points_it_moved() -> None:
    points = astronaut().points
    turned = similarity(points, points @ np.array([[0, 2], [-2, 0]], np.float32) + np.float32(7))
    assert np.allclose(turned, [[0, -2, 7], [2, 0, 7]], atol=1e-3)


@pytest.mark.parametrize("points", range(5))
def test_the_piecewise_warp_takes_every_landmark_to_its_own(points: int) -> None:
    target, source = astronaut(), stranger()
    map_x, map_y = piecewise_maps(target.points, source.points, target.rgb.shape[:2])
    x, y = np.rint(target.points[points]).astype(int)
    assert np.allclose([map_x[y, x], map_y[y, x]], source.points[points], atol=1.5)


def test_the_two_warps_agree_where_a_similarity_is_enough() -> None:
    target = astronaut()
    moved = target.points * np.float32(1.2) + np.float32(5)
    maps = (warp(target.points, moved, (270, 270)) for warp in (similarity_maps, piecewise_maps))
    (plain_x, plain_y), (fine_x, fine_y) = maps
    assert np.abs(plain_x - fine_x)[60:200, 60:200].max() < 0.1
    assert np.abs(plain_y - fine_y)[60:200, 60:200].max() < 0.1


def test_the_triangles_cover_the_drawn_face_without_overlap() -> None:
    corners = CONTROL[[list(triangle) for triangle in triangles()]]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2
    hull = cv2.convexHull(CONTROL.astype(np.float32))
    assert area == pytest.approx(cv2.contourArea(hull), rel=0.03)


def test_poisson_blending_keeps_the_rims_colour_and_the_layers_detail() -> None:
    picture = np.full((64, 64, 3), 120, np.uint8)
    layer = np.full((64, 64, 3), 200, np.uint8)
    layer[30:34, 30:34] = 230
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 16:48] = 1
    blended = poisson(layer, picture, mask)
    assert blended[20, 20].mean() == pytest.approx(120, abs=3)
    assert blended[32, 32].mean() - blended[22, 32].mean() > 15
    assert np.array_equal(blended[mask == 0], picture[mask == 0])


def test_of_several_strangers_the_one_with_like_pose_and_skin_is_chosen() -> None:
    target = astronaut()
    twin = replace(target, name="twin")
    chosen = similar_face(target, [stranger(), target, twin], np.random.default_rng(0))
    assert chosen.name == "twin"
