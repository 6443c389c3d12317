import threading
from dataclasses import fields, is_dataclass
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import Cancelled, EmptyMedia
from models.extraction import Extractor, nothing_to_see
from models.media.limits import Limits
from models.types import View
from tests.media import clip, clip_from_frames

FACE = View("face", 64, margin=0.3, count=8)
FRAME = View("frame", 48, fit="pad", count=4)


@pytest.fixture(scope="module")
def talking(portrait: NDArray[np.uint8]) -> bytes:
    """20 frames of 960x540 in which the portrait drifts."""
    return clip_from_frames(scene(portrait, i) for i in range(20))


def scene(portrait: NDArray[np.uint8], i: int) -> NDArray[np.uint8]:
    frame = np.full((540, 960, 3), 90, np.uint8)
    frame[:512, 100 + 4 * i : 612 + 4 * i] = portrait
    return frame


def extract(media: bytes, *views: View, limits: Limits | None = None) -> Any:
    return Extractor(limits or Limits()).extract(np.frombuffer(media, np.uint8), "00", views)


def test_each_view_has_its_own_size_and_count(talking: bytes) -> None:
    extraction, clips = extract(talking, FACE, FRAME)
    (face,), (frame,) = clips[FACE], clips[FRAME]
    assert face.data.shape == (8, 64, 64, 3)
    assert frame.data.shape == (4, 48, 48, 3)
    assert (face.track, frame.track) == (0, None)
    assert extraction.media.frames_total == 20
    assert extraction.media.frames_analysed == 10  # of 8 and 4 evenly spread, first and last are shared


def test_a_view_holds_the_frames_of_its_times(talking: bytes) -> None:
    _, clips = extract(talking, FACE, FRAME)
    assert clips[FACE][0].times_s == pytest.approx(np.rint(np.linspace(0, 19, 8)) / 30, abs=1e-3)
    assert clips[FRAME][0].times_s == pytest.approx(np.rint(np.linspace(0, 19, 4)) / 30, abs=1e-3)


def test_a_view_is_the_same_whatever_is_extracted_beside_it(talking: bytes) -> None:
    _, alone = extract(talking, FRAME)
    _, beside = extract(talking, FACE, FRAME)
    assert np.array_equal(alone[FRAME][0].data, beside[FRAME][0].data)


def test_a_face_crop_shows_the_face(talking: bytes, portrait: NDArray[np.uint8]) -> None:
    _, clips = extract(talking, FACE)
    # The portrait's face with the same margin, cut by hand.
    expected = cv2.resize(portrait[50:194, 149:293], (64, 64), interpolation=cv2.INTER_AREA)
    found = clips[FACE][0].data[0]
    assert np.corrcoef(found.ravel().astype(float), expected.ravel().astype(float))[0, 1] > 0.6


def test_boxes_are_in_pixels_of_the_picture_even_when_it_is_scaled_down(talking: bytes) -> None:
    full, _ = extract(talking, FACE)
    small, _ = extract(talking, FACE, limits=Limits(working_side=640))
    assert small.media.width == full.media.width == 960
    assert small.tracks[0].boxes_xyxy[0] == pytest.approx(full.tracks[0].boxes_xyxy[0], abs=25)


def test_without_a_face_there_is_no_clip_and_the_reason_is_said() -> None:
    extraction, clips = extract(clip(frames=10), FACE, FRAME)
    assert clips[FACE] == ()
    assert len(clips[FRAME]) == 1
    assert nothing_to_see(FACE, extraction) == "no face: none was found in 8 analysed frames"


def test_what_leaves_beside_the_views_is_small(talking: bytes) -> None:
    def arrays(value: Any) -> int:
        if isinstance(value, np.ndarray):
            return value.nbytes
        if is_dataclass(value):
            return sum(arrays(getattr(value, f.name)) for f in fields(value))
        return sum(map(arrays, value)) if isinstance(value, tuple) else 0

    extraction, _ = extract(talking, FACE)
    assert 0 < arrays(extraction) < 10_000


def test_extraction_stops_when_it_is_cancelled(talking: bytes) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        Extractor(Limits()).extract(np.frombuffer(talking, np.uint8), "00", [FACE], cancelled=cancelled)


def test_an_empty_file_is_named() -> None:
    with pytest.raises(EmptyMedia):
        extract(b"", FACE)
