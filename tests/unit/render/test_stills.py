"""Pictures drawn over, and sound drawn, in the confined child as in production."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.errors import TruncatedMedia
from models.render.palette import FAKE
from models.render.scene import Curve, Face, Span
from models.render.spectrogram import log_mel
from models.render.stream import content_type, render, suffix
from models.types import MediaFacts
from tests.media import gradient, sound_only, still, tone
from tests.scenes import scene

FACE = Face("face 0", 0.9, True, 0, (0.0,), ((100.0, 100.0, 180.0, 180.0),))  # noqa: FBT003
PICTURE = scene(0.0, kind="image", faces=(FACE,), curves=(), spans=())
SOUND = scene(3.0, kind="audio", faces=(), curves=(Curve("sound", (1.0, 2.0), (0.9, 0.2)),), spans=(Span(1.0, 1.0),))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def drawn(content: bytes) -> Image.Image:
    return opened(b"".join(render(content, PICTURE)))


@pytest.mark.parametrize(
    ("sent", "back"),
    [
        ("jpeg", "JPEG"),
        ("webp", "JPEG"),
        ("heic", "JPEG"),
        ("avif", "JPEG"),
        ("png", "PNG"),
        ("gif", "PNG"),
        ("bmp", "PNG"),
    ],
)
def test_photographs_come_back_as_jpeg_and_the_others_as_png(sent: str, back: str) -> None:
    image = drawn(still(gradient(240, 200), sent))
    assert (image.format, image.size) == (back, (240, 200))
    assert content_type(MediaFacts("image", "", 1, container=sent)) == f"image/{back.lower()}"


def test_a_picture_larger_than_what_is_analysed_keeps_its_size() -> None:
    assert drawn(still(gradient(2500, 2100), "png")).size == (2500, 2100)


def test_a_turned_photograph_stands_upright_and_is_not_turned_again() -> None:
    exif = Image.Exif()
    exif[274] = 6
    image = drawn(still(gradient(240, 200), "jpeg", exif=exif))
    assert image.size == (200, 240)
    assert image.getexif().get(274, 1) == 1


def test_nothing_of_the_source_s_metadata_comes_back() -> None:
    exif = Image.Exif()
    exif[271] = "camera of the client"
    data = b"".join(render(still(gradient(), "jpeg", exif=exif), PICTURE))
    assert b"camera" not in data


def test_a_face_in_a_picture_is_boxed_in_its_colour() -> None:
    pixels = np.asarray(drawn(still(np.full((240, 240, 3), 128, np.uint8), "png")))
    assert tuple(pixels[150, 101]) == FAKE


def test_a_cut_picture_is_refused() -> None:
    sent = still(gradient(800, 600), "png")
    with pytest.raises(TruncatedMedia):
        next(render(sent[: len(sent) // 2], PICTURE))


@pytest.mark.parametrize(("container", "codec"), [("wav", "pcm_s16le"), ("mp4", "aac"), ("flac", "flac")])
def test_a_recording_becomes_a_picture_of_its_spectrum(container: str, codec: str) -> None:
    image = opened(b"".join(render(sound_only(tone(3), container, codec), SOUND)))
    assert (image.format, image.size) == ("PNG", (1600, 900))
    assert suffix(MediaFacts("audio", "", 1, container=container)) == ".png"


@pytest.mark.parametrize("seconds", [0.05, 3.0, 70.0])
def test_every_length_of_sound_can_be_drawn(seconds: float) -> None:
    assert opened(b"".join(render(sound_only(tone(seconds), "wav", "pcm_s16le"), SOUND))).size == (1600, 900)


def row_of(hz: float, rows: int = 160) -> int:
    """Of the loudest pitch; rows begin with the highest."""
    samples: NDArray[np.float32] = np.sin(2 * np.pi * hz * np.arange(32_000) / 16_000).astype(np.float32)
    return int(log_mel(samples, 50, rows).mean(1).argmax())


def test_a_higher_tone_is_higher_in_the_picture() -> None:
    found = [row_of(hz) for hz in (200, 500, 1000, 3000, 7000)]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 5


def test_a_tone_begins_in_the_picture_when_it_begins_in_the_sound() -> None:
    samples = np.concatenate([np.zeros(16_000), tone(1)[::3]]).astype(np.float32)
    loudest = log_mel(samples, 100, 80).max(0)
    assert loudest[:48].max() < loudest[52:].min()
