import cv2
import numpy as np
import pytest

from tests.unit.training.portrait import astronaut
from training.forgeries.matching import laplacian_variance, match_colour, match_sharpness

FACE = astronaut().rgb
MASK = np.zeros(FACE.shape[:2], np.float32)
MASK[70:180, 80:190] = 1


def test_a_layer_of_other_colours_takes_on_the_pictures_mean() -> None:
    tinted = np.clip(FACE * [0.6, 0.9, 0.7] + [30, 0, 10], 0, 255).astype(np.uint8)
    matched = match_colour(tinted, FACE, MASK)
    shown = MASK > 0
    assert np.abs(tinted[shown].mean(axis=0) - FACE[shown].mean(axis=0)).max() > 10
    assert np.abs(matched[shown].mean(axis=0) - FACE[shown].mean(axis=0)).max() < 3


def test_matching_a_picture_to_itself_leaves_it_nearly_as_it_is() -> None:
    assert np.abs(match_colour(FACE, FACE, MASK).astype(int) - FACE).mean() < 1


@pytest.mark.parametrize("sigma", [0.5, 0.6])
def test_a_blurred_layer_becomes_as_sharp_as_the_picture(sigma: float) -> None:
    soft = cv2.GaussianBlur(FACE, (0, 0), sigma).astype(np.uint8)
    wanted = laplacian_variance(FACE, MASK)
    assert laplacian_variance(soft, MASK) < 0.8 * wanted
    assert laplacian_variance(match_sharpness(soft, FACE, MASK), MASK) == pytest.approx(wanted, rel=0.1)


def test_a_sharpened_layer_becomes_as_soft_as_the_picture() -> None:
    soft = cv2.GaussianBlur(FACE, (0, 0), 1.0).astype(np.uint8)
    matched = match_sharpness(FACE, soft, MASK)
    assert laplacian_variance(matched, MASK) == pytest.approx(laplacian_variance(soft, MASK), rel=0.15)


def test_an_empty_mask_leaves_the_layer_alone() -> None:
    nowhere = np.zeros_like(MASK)
    assert match_colour(FACE, FACE[::-1], nowhere) is FACE
    assert match_sharpness(FACE, FACE[::-1], nowhere) is FACE
