from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import WeightsError
from models.faces.find import FaceFinder
from models.faces.track import FaceTracker
from models.faces.yunet import SMALLEST, YuNetFinder, _found
from tests.checkpoints import published

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def finder() -> YuNetFinder:
    return YuNetFinder(published("yunet_n_640_640.onnx"))


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner))


def test_its_box_is_drawn_as_the_hog_detector_draws_it(finder: YuNetFinder, portrait: Picture) -> None:
    (yunet,), (hog,) = finder.search(portrait), FaceFinder().search(portrait)
    assert overlap(yunet.box_xyxy, hog.box_xyxy) > 0.8


def test_points_come_with_the_persons_right_first(finder: YuNetFinder, portrait: Picture) -> None:
    (found,) = finder.search(portrait)
    assert found.points is not None
    right_eye, left_eye, nose, right_mouth, left_mouth = found.points
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_near_finds_the_face_that_search_found(finder: YuNetFinder, portrait: Picture) -> None:
    (found,) = finder.search(portrait)
    near = finder.near(portrait, found.box_xyxy + np.float32(12))
    assert near is not None
    assert near.points is not None
    assert overlap(near.box_xyxy, found.box_xyxy) > 0.85
    assert near.points == pytest.approx(found.points, abs=6)


def test_near_finds_nothing_where_there_is_no_face(finder: YuNetFinder, portrait: Picture) -> None:
    assert finder.near(portrait, np.array([20, 380, 110, 470], np.float32)) is None


@pytest.mark.parametrize(("left", "kept"), [(100, 1), (-160, 0)])
def test_a_face_mirrored_beyond_the_edge_is_no_face_of_the_picture(left: int, kept: int) -> None:
    row = np.array([20, 20, 80, 100, 40, 50, 80, 50, 60, 70, 45, 90, 75, 90, 0.9], np.float32)
    assert len(_found(row[None], 1.0, (left, 100), np.zeros((400, 400, 3), np.uint8))) == kept


def test_faces_smaller_than_the_hog_detector_finds_are_left_out(finder: YuNetFinder, portrait: Picture) -> None:
    sides = [found.box_xyxy[2] - found.box_xyxy[0] for found in finder.search(portrait)]
    small = cv2.resize(portrait, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    assert sides[0] * 0.3 < SMALLEST < sides[0]
    assert finder.search(small) == []


def test_the_same_picture_gives_the_same_faces_whatever_was_seen_before(finder: YuNetFinder, portrait: Picture) -> None:
    (first,) = finder.search(portrait)
    finder.search(np.ascontiguousarray(portrait[:300, :411]))
    finder.near(portrait, first.box_xyxy)
    (again,) = finder.search(portrait)
    assert np.array_equal(first.box_xyxy, again.box_xyxy)
    assert np.array_equal(first.points, again.points)  # type: ignore[arg-type]


def test_points_are_followed_frame_by_frame(finder: YuNetFinder, portrait: Picture) -> None:
    tracker = FaceTracker(finder)
    seen = []
    for i in range(5):
        frame = np.full((540, 960, 3), 90, np.uint8)
        frame[:512, 100 + 16 * i : 612 + 16 * i] = portrait
        (sighting,) = tracker.step(i * 0.2, frame)
        seen.append(sighting.points)
    moved = np.diff(np.stack([points for points in seen if points is not None]), axis=0)
    assert moved[..., 0] == pytest.approx(np.full((4, 5), 16), abs=6)
    assert moved[..., 1] == pytest.approx(np.zeros((4, 5)), abs=6)


@pytest.mark.parametrize("content", [None, b"", b"not a network"])
def test_a_file_that_is_no_network_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "wrong.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"wrong\.onnx is not YuNet"):
        YuNetFinder(path)
