import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.errors import TruncatedMedia, UnsupportedMedia
from models.media.limits import Limits
from models.render.variants import CHANGES, Variant, variants
from tests.media import clip, gradient, still

WIDTH, HEIGHT = 160, 96


@pytest.fixture(scope="module")
def changed() -> dict[str, Variant]:
    return {variant.change: variant for variant in variants(still(gradient(WIDTH, HEIGHT), "png"), Limits())}


def pixels(variant: Variant) -> NDArray[np.int16]:
    image = Image.open(io.BytesIO(variant.png))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", variant.size_wh)
    return np.asarray(image, np.int16)


def test_every_change_keeps_the_size_of_the_picture(changed: dict[str, Variant]) -> None:
    assert list(changed) == list(CHANGES)
    assert {pixels(variant).shape for variant in changed.values()} == {(HEIGHT, WIDTH, 3)}


def test_grey_has_equal_channels(changed: dict[str, Variant]) -> None:
    grey = pixels(changed["grayscale"])
    assert (grey == grey[:, :, :1]).all()


def test_the_mirrored_picture_mirrored_again_is_the_picture(changed: dict[str, Variant]) -> None:
    assert (pixels(changed["flip_horizontal"])[:, ::-1] == gradient(WIDTH, HEIGHT)).all()


def test_the_dimmed_picture_has_four_fifths_of_its_light(changed: dict[str, Variant]) -> None:
    assert np.abs(pixels(changed["brightness_down"]) - 0.8 * gradient(WIDTH, HEIGHT)).max() <= 1


def test_the_brightened_picture_spans_black_to_white(changed: dict[str, Variant]) -> None:
    bright = pixels(changed["brightness_up"])
    assert (bright.min(), bright.max()) == (0, 255)


def test_left_and_right_are_turned_in_opposite_directions(changed: dict[str, Variant]) -> None:
    left, right = pixels(changed["rotate_left"]), pixels(changed["rotate_right"])
    assert (left[0, 0] == 0).all()
    assert (right[0, 0] == 0).all()
    middle = HEIGHT // 2, WIDTH // 2
    assert np.abs(left[middle] - right[middle]).max() <= 4
    assert np.abs(left - right).max() > 50


def test_a_large_picture_is_changed_at_the_working_size() -> None:
    first = next(variants(still(gradient(400, 100), "png"), Limits(working_side=200)))
    assert first.size_wh == (200, 50)


@pytest.mark.parametrize(
    ("media", "error"),
    [(clip(2), UnsupportedMedia), (still(gradient(), "png")[:200], TruncatedMedia)],
)
def test_what_is_no_whole_picture_is_refused(media: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        next(variants(media, Limits()))
