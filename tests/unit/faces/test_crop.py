from typing import get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from models.faces.crop import FILTERS, LONGEST, face_crop, fit_frame, resize
from models.faces.square import square_around
from models.types import Resample


def gradient(height: int, width: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 7)], axis=-1).astype(np.uint8)


def noise(height: int, width: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), np.uint8)


def box(*corners: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(corners, np.float32)


def test_a_square_is_centred_on_the_box_and_holds_its_margin() -> None:
    assert square_around(box(100, 100, 140, 200), 0.3) == (40, 70, 160)


def test_a_crop_shows_the_region_of_the_box() -> None:
    crop = face_crop(gradient(400, 400), box(100, 200, 200, 300), margin=0.0, size=50)
    assert crop.shape == (50, 50, 3)
    assert crop[..., 0].mean() == pytest.approx(150 * 255 / 400, abs=2)
    assert crop[..., 1].mean() == pytest.approx(250 * 255 / 400, abs=2)


@pytest.mark.parametrize("corners", [(-20, -20, 40, 40), (370, 370, 430, 430), (-50, 100, 450, 380)])
def test_beyond_the_edge_the_picture_is_mirrored_not_black(corners: tuple[int, ...]) -> None:
    bright = np.full((400, 400, 3), 200, np.uint8)
    assert (face_crop(bright, box(*corners), margin=0.3, size=64) == 200).all()


def test_a_box_outside_the_picture_is_an_error() -> None:
    with pytest.raises(ValueError, match="outside a picture of 400x400"):
        face_crop(gradient(400, 400), box(900, 900, 950, 950), margin=0.0, size=64)


def test_read_only_frames_are_accepted() -> None:
    frame = gradient(400, 400)
    frame.flags.writeable = False
    assert face_crop(frame, box(10, 10, 90, 90), 0.3, 32).shape == (32, 32, 3)


def test_pad_keeps_the_shape_of_things_and_squash_does_not() -> None:
    wide = np.full((100, 200, 3), 255, np.uint8)
    padded = fit_frame(wide, 64, "pad")
    assert (padded[:16] == 0).all()
    assert (padded[16:48] == 255).all()
    assert (fit_frame(wide, 64, "squash") == 255).all()
    assert (fit_frame(wide, 64, "crop") == 255).all()


def test_every_way_to_resample_but_area_is_one_of_pillows_filters() -> None:
    assert {"area", *FILTERS} == set(get_args(Resample))


@pytest.mark.parametrize("resample", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_squash_with_a_filter_is_what_pillow_makes_of_it(resample: Resample) -> None:
    picture = noise(90, 141)
    expected = np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling[resample.upper()]))
    assert np.array_equal(fit_frame(picture, 64, "squash", resample), expected)


def test_area_stays_opencvs() -> None:
    picture = noise(90, 141)
    assert np.array_equal(fit_frame(picture, 64, "squash"), cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("shape", [(90, 141), (141, 90), (64, 64), (40, 51), (301, 77), (65, 400)])
@pytest.mark.parametrize(("resample", "number"), [("bilinear", 2), ("bicubic", 3), ("lanczos", 1)])
def test_crop_with_a_filter_is_what_the_published_processor_gives(
    shape: tuple[int, int], resample: Resample, number: int
) -> None:
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 64}, crop_size=64, resample=number, do_rescale=False, do_normalize=False
    )
    (expected,) = processor(noise(*shape))["pixel_values"]
    assert np.array_equal(fit_frame(noise(*shape), 64, "crop", resample), np.asarray(expected).transpose(1, 2, 0))


def test_the_centre_of_a_line_is_found_without_scaling_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []

    def watched(image: NDArray[np.uint8], size_wh: tuple[int, int], how: Resample) -> NDArray[np.uint8]:
        made.append(size_wh)
        return resize(image, size_wh, how)

    monkeypatch.setattr("models.faces.crop.resize", watched)
    assert fit_frame(noise(2, 4000), 32, "crop", "bicubic").shape == (32, 32, 3)
    assert max(made) == (32 * LONGEST, 32)


def test_centre_takes_the_middle_without_scaling() -> None:
    picture = noise(100, 81)
    assert np.array_equal(fit_frame(picture, 64, "centre", "bicubic"), picture[18:82, 8:72])


def test_centre_mirrors_a_smaller_picture_outward() -> None:
    picture = noise(20, 200)
    centre = fit_frame(picture, 64, "centre")
    assert np.array_equal(centre[22:42], picture[:, 68:132])
    assert np.array_equal(centre[2:22], picture[::-1, 68:132])
    assert np.array_equal(centre[42:62], picture[::-1, 68:132])


def test_nearest_mixes_no_colours() -> None:
    picture = np.where(noise(120, 90) > 127, 255, 0).astype(np.uint8)
    crop = face_crop(picture, box(10, 20, 60, 70), 0.2, 37, "nearest")
    assert set(np.unique(crop)) == {0, 255}
