from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.unit.training.portrait import astronaut
from training.augment import Degradation, degrade, draw_degradation, through_h264, through_jpeg

CLEAN = Degradation()


def crop_of(how: Degradation) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    portrait = astronaut()
    return degrade(portrait.rgb, portrait.box_xyxy, how, 0.3, 160)


def sharpness(rgb: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
    return float(cv2.Laplacian(rgb, cv2.CV_32F).var())


@pytest.mark.parametrize("seed", range(12))
def test_identical_pictures_of_a_pair_stay_identical(seed: int) -> None:
    how = draw_degradation(np.random.default_rng(seed))
    assert np.array_equal(crop_of(how), crop_of(how))
    assert crop_of(how).shape == (160, 160, 3)


@pytest.mark.parametrize(
    "how",
    [
        Degradation(face_side=40),
        Degradation(blur=1.5),
        Degradation(motion=5),
        Degradation(soften=3),
        Degradation(crf=38),
    ],
    ids=["small", "blur", "motion", "soften", "h264"],
)
def test_each_softening_history_takes_sharpness_away(how: Degradation) -> None:
    assert sharpness(crop_of(how)) < 0.8 * sharpness(crop_of(CLEAN))


def test_sharpening_and_noise_add_to_it() -> None:
    assert sharpness(crop_of(Degradation(sharpen=1))) > 1.2 * sharpness(crop_of(CLEAN))
    assert sharpness(crop_of(Degradation(noise=8))) > 1.2 * sharpness(crop_of(CLEAN))


def test_a_mirrored_crop_is_the_mirror_image() -> None:
    assert np.array_equal(crop_of(replace(CLEAN, flip=True)), crop_of(CLEAN)[:, ::-1])


@pytest.mark.parametrize("size_hw", [(64, 64), (63, 81)])
@pytest.mark.parametrize("frames", [1, 3])
def test_h264_keeps_size_and_colour_and_loses_more_at_a_higher_rate_factor(
    size_hw: tuple[int, int], frames: int
) -> None:
    rgb = cv2.resize(astronaut().rgb, size_hw[::-1]).astype(np.uint8)
    fine, coarse = (through_h264(rgb, crf, frames, (1, 0)) for crf in (18, 40))
    assert fine.shape == coarse.shape == rgb.shape
    assert np.abs(fine.astype(int) - rgb).mean() < np.abs(coarse.astype(int) - rgb).mean() < 30


def test_jpeg_keeps_the_order_of_colours() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    assert through_jpeg(red, 90).reshape(-1, 3).mean(axis=0).argmax() == 0
