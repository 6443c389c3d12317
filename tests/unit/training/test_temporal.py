import cv2
import numpy as np
import pytest

from tests.unit.training.portrait import astronaut
from training.augment import degrade, draw_degradation
from training.forgeries.temporal import ClipPair, MovingFace, draw_course, face_in_clip, moving_portrait, walk
from training.forgeries.temporal import self_blend_clip as forge

COUNT = 8
SEEDS = range(6)


def clip_of(seed: int) -> tuple[MovingFace, ClipPair]:
    rng = np.random.default_rng(seed)
    face = moving_portrait(astronaut(), COUNT, rng)
    return face, forge(face, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_forging_a_clip_changes_every_frame_inside_its_mask_and_none_outside(seed: int) -> None:
    face, pair = clip_of(seed)
    assert pair.real.shape == pair.forged.shape == face.frames.shape
    assert pair.forged.dtype == np.uint8
    for real, forged, mask in zip(pair.real, pair.forged, pair.masks, strict=True):
        change = np.abs(real.astype(int) - forged).max(axis=2)
        assert change[mask == 0].max() == 0
        assert change[mask > 0.1].mean() > 1


def test_equal_seeds_forge_equal_clips_and_others_do_not() -> None:
    first, again, other = (clip_of(seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first.forged, again.forged)
    assert not np.array_equal(first.forged, other.forged)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mask_follows_the_face(seed: int) -> None:
    face, pair = clip_of(seed)
    for t in range(COUNT):
        ys, xs = np.nonzero(pair.masks[t] > pair.masks[t].max() / 2)
        moved = face.points[t].mean(axis=0) - face.points[0].mean(axis=0)
        first_ys, first_xs = np.nonzero(pair.masks[0] > pair.masks[0].max() / 2)
        travelled = np.array([xs.mean() - first_xs.mean(), ys.mean() - first_ys.mean()])
        assert np.abs(travelled - moved).max() < 4


def test_the_portrait_moves_a_little_from_frame_to_frame_and_more_over_the_clip() -> None:
    faces = [moving_portrait(astronaut(), COUNT, np.random.default_rng(seed)) for seed in SEEDS]
    places = [face.points.mean(axis=1) for face in faces]
    assert 0 < max(np.abs(np.diff(place, axis=0)).max() for place in places) < 5
    assert np.mean([np.ptp(place, axis=0).max() for place in places]) > 3


@pytest.mark.parametrize("seed", SEEDS)
def test_the_blend_wanders_more_than_it_jumps(seed: int) -> None:
    levels = np.array([colour.brightness for colour in draw_course(60, np.random.default_rng(seed)).colours])
    assert 0 < np.abs(np.diff(levels)).mean() < levels.std()


def test_a_walk_is_smooth_without_flicker_and_has_a_spread_of_one() -> None:
    walks = np.stack([walk(200, np.random.default_rng(seed), flicker=0) for seed in range(40)])
    assert walks.std() == pytest.approx(1, abs=0.15)
    assert np.abs(np.diff(walks, axis=1)).max() < 1
    assert np.abs(np.diff(walks, axis=1)).mean() < 0.2


def test_the_box_moves_with_the_face() -> None:
    face = moving_portrait(astronaut(), COUNT, np.random.default_rng(0))
    x0, y0, x1, y1 = face.boxes_xyxy.T
    nose = face.points[:, 2]
    assert (x0 < nose[:, 0]).all()
    assert (nose[:, 0] < x1).all()
    assert (y0 < nose[:, 1]).all()
    assert (nose[:, 1] < y1).all()


def test_in_a_clip_without_landmarks_the_drawn_face_stands_upright_in_the_box() -> None:
    frames = np.zeros((2, 200, 300, 3), np.uint8)
    boxes = np.array([[50, 40, 150, 140], [60, 40, 160, 140]], np.float32)
    face = face_in_clip(frames, boxes)
    right_eye, left_eye, nose, _, mouth = face.points[0]
    assert right_eye[1] == pytest.approx(left_eye[1])
    assert (right_eye[0] + left_eye[0]) / 2 == pytest.approx(100)
    assert 40 < right_eye[1] < nose[1] < mouth[1] < 140
    assert np.allclose(face.points[1] - face.points[0], [10, 0], atol=1e-4)


def test_softness_after_the_same_history_does_not_give_the_clip_away() -> None:
    sharpness = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        face = moving_portrait(astronaut(), 2, rng)
        pair, how = forge(face, rng), draw_degradation(rng)
        crops = (degrade(clip[1], face.boxes_xyxy[1], how, 0.3, 160) for clip in (pair.real, pair.forged))
        sharpness.append([cv2.Laplacian(crop, cv2.CV_32F).var() for crop in crops])
    real, forged = np.mean(sharpness, axis=0)
    assert forged == pytest.approx(real, rel=0.25)
