import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.faces.thumbnail import MOST, SIDE, Thumbnails, encoded
from models.types import Track

Picture = NDArray[np.uint8]


def box(left: float, top: float, side: float) -> NDArray[np.float32]:
    return np.array([left, top, left + side, top + side], np.float32)


def track(number: int, sightings: int = 1, side: float = 100) -> Track:
    return Track(number, np.arange(float(sightings)), np.tile(box(0, 0, side), (sightings, 1)))


def shown(jpeg: bytes) -> Picture:
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def thumbnail(*sightings: tuple[Picture, NDArray[np.float32]]) -> Picture:
    kept = Thumbnails()
    for frame, box_xyxy in sightings:
        kept.offer(0, frame, box_xyxy)
    return shown(kept.jpegs([track(0)])[0])


@pytest.fixture
def noise() -> Picture:
    return np.random.default_rng(1).integers(0, 200, (300, 400, 3), np.uint8)


def blurred(frame: Picture, marked: int) -> Picture:
    """Blurred, and recognisable by its blue."""
    frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), 4), np.uint8)
    frame[..., 2] = marked
    return frame


def test_of_faces_of_one_size_the_sharpest_is_shown_whenever_it_came(noise: Picture) -> None:
    sharp = noise.copy()
    sharp[..., 2] = 255
    sightings = [(blurred(noise, 0), box(100, 100, 80)), (sharp, box(100, 100, 80)), (blurred(noise, 0), box(0, 0, 80))]
    assert thumbnail(*sightings)[..., 2].mean() > 200


def test_of_equally_sharp_faces_the_largest_is_shown() -> None:
    small = np.random.default_rng(1).integers(0, 200, (48, 48, 3), np.uint8)
    frames = []
    for side in (48, 96):  # the same texture at each size
        frame = np.full((300, 400, 3), side, np.uint8)
        frame[100 : 100 + side, 100 : 100 + side] = cv2.resize(small, (side, side), interpolation=cv2.INTER_NEAREST)
        frames.append((frame, box(100, 100, side)))
    assert thumbnail(*frames)[:4, :4].mean() == pytest.approx(96, abs=8)  # the background says which


def test_the_longer_side_is_96_pixels_and_a_margin_is_shown() -> None:
    frame = np.zeros((300, 400, 3), np.uint8)
    frame[100:200, 100:200] = 255
    picture = thumbnail((frame, box(100, 100, 100)))
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture[:12].max() < 60
    assert picture[48, 48].min() > 200


def test_a_small_face_is_not_enlarged(noise: Picture) -> None:
    assert thumbnail((noise, box(100, 100, 20))).shape == (30, 30, 3)


def test_a_face_at_the_edge_is_cut_there_and_not_mirrored(noise: Picture) -> None:
    height, width = thumbnail((noise, box(-50, 100, 100))).shape[:2]
    assert (height, width) == (96, 48)


def test_a_box_outside_the_picture_has_no_thumbnail(noise: Picture) -> None:
    kept = Thumbnails()
    kept.offer(0, noise, box(-300, -300, 50))
    kept.offer(1, noise, box(900, 900, 50))
    assert kept.jpegs([track(0), track(1)]) == {}


def test_of_many_faces_those_seen_most_often_have_one(noise: Picture) -> None:
    kept = Thumbnails()
    tracks = [track(number, sightings=number + 1) for number in range(MOST + 4)]
    for each in tracks:
        kept.offer(each.number, noise, box(0, 0, 50))
    assert sorted(kept.jpegs(tracks)) == list(range(4, MOST + 4))


def test_a_thumbnail_is_a_jpeg_without_metadata(noise: Picture) -> None:
    jpeg = encoded(noise[:96, :96])
    assert jpeg.startswith(b"\xff\xd8\xff\xe0")  # JFIF's own header
    assert b"Exif" not in jpeg
    assert b"http" not in jpeg  # XMP
    assert len(jpeg) < 12_000  # of noise, the largest there is
