import numpy as np
import pytest

from tests.unit.training.portrait import astronaut
from training.forgeries.self_blend import ANCHORS, REGIONS, blend, blend_mask, fit_to_face, self_blend

SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_forging_changes_the_face_inside_the_mask_and_nothing_outside_it(seed: int) -> None:
    pair = self_blend(astronaut(), np.random.default_rng(seed))
    change = np.abs(pair.real.astype(int) - pair.forged).max(axis=2)
    assert change[pair.mask == 0].max() == 0
    assert change[pair.mask > 0.1].mean() > 1


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mask_lies_on_the_face(seed: int) -> None:
    portrait = astronaut()
    mask = blend_mask(portrait, np.random.default_rng(seed))
    ys, xs = np.nonzero(mask > mask.max() / 2)
    x0, y0, x1, y1 = portrait.box_xyxy
    assert x0 - 20 < xs.mean() < x1 + 20
    assert y0 - 20 < ys.mean() < y1 + 20
    assert 0 < mask.max() <= 1


def test_equal_seeds_forge_equally_and_others_do_not() -> None:
    first, again, other = (self_blend(astronaut(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.forged, again.forged)
    assert not np.array_equal(first.forged, other.forged)


def test_forging_leaves_the_portrait_as_it_was() -> None:
    portrait = astronaut()
    before = portrait.rgb.copy()
    self_blend(portrait, np.random.default_rng(0))
    assert np.array_equal(portrait.rgb, before)


def test_the_drawn_face_meets_the_landmarks_it_is_fitted_to() -> None:
    points = ANCHORS * 40 + [100, 60]
    assert np.allclose(fit_to_face(ANCHORS, points.astype(np.float32)), points, atol=1e-3)


def test_blending_is_the_source_where_the_mask_is_1_and_the_target_where_it_is_0() -> None:
    source, target = np.full((2, 2, 3), 200, np.uint8), np.full((2, 2, 3), 100, np.uint8)
    mask = np.array([[0, 0.5], [1, 0]], np.float32)
    assert blend(source, target, mask)[..., 0].tolist() == [[100, 150], [200, 100]]


def test_every_region_encloses_an_area() -> None:
    assert all(np.ptp(outline, axis=0).min() > 0.3 for outline in REGIONS.values())
