import numpy as np
import pytest

from models.faces.crop import face_crop, fit_frame, square_around


def gradient(height: int, width: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 7)], axis=-1).astype(np.uint8)


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
