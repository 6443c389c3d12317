import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.faces.find import FaceFinder, Found
from models.faces.track import GIVE_UP_AFTER, MAX_FACES, FaceTracker

Picture = NDArray[np.uint8]
BLANK: Picture = np.full((480, 640, 3), 90, np.uint8)


def scene(portrait: Picture, *corners_xy: tuple[int, int], side: int = 320) -> Picture:
    """Grey 640x480 with the portrait pasted at each place."""
    frame = BLANK.copy()
    small = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    for x, y in corners_xy:
        part = frame[y : y + side, x : x + side]
        part[:] = small[: part.shape[0], : part.shape[1]]
    return frame


class CountingFinder(FaceFinder):
    def __init__(self) -> None:
        super().__init__()
        self.searches = 0

    def search(self, frame_hwc: Picture, *, fine: bool = False) -> list[Found]:
        self.searches += 1
        return super().search(frame_hwc, fine=fine)


def test_a_still_face_is_one_track_whose_box_holds_the_face(portrait: Picture) -> None:
    tracker = FaceTracker(FaceFinder())
    for i in range(5):
        tracker.step(i * 0.2, scene(portrait, (100, 60)))
    (track,) = tracker.tracks()
    assert len(track.times_s) == 5
    x0, y0, x1, y1 = track.boxes_xyxy[-1]
    # The portrait's face is centred at 44 % of its width and 22 % of its height.
    assert (x0 + x1) / 2 == pytest.approx(100 + 0.44 * 320, abs=15)
    assert (y0 + y1) / 2 == pytest.approx(60 + 0.22 * 320, abs=15)


def test_a_moving_face_stays_one_track(portrait: Picture) -> None:
    tracker = FaceTracker(FaceFinder())
    for i in range(8):
        tracker.step(i * 0.1, scene(portrait, (20 + 12 * i, 60)))
    (track,) = tracker.tracks()
    assert len(track.times_s) == 8
    assert track.boxes_xyxy[-1][0] - track.boxes_xyxy[0][0] == pytest.approx(84, abs=16)


def test_two_faces_are_two_tracks(portrait: Picture) -> None:
    tracker = FaceTracker(FaceFinder())
    for i in range(4):
        tracker.step(i * 0.5, scene(portrait, (0, 60), (320, 60)))
    assert [len(track.times_s) for track in tracker.tracks()] == [4, 4]


def test_frames_without_the_face_are_marked_lost_and_have_no_box(portrait: Picture) -> None:
    tracker = FaceTracker(FaceFinder())
    for i, shown in enumerate([True, True, False, True]):
        tracker.step(float(i), scene(portrait, (100, 60)) if shown else BLANK)
    (track,) = tracker.tracks()
    assert track.times_s.tolist() == [0.0, 1.0, 3.0]
    assert track.lost_s == (2.0,)


def test_a_face_that_returns_after_long_absence_is_a_new_track(portrait: Picture) -> None:
    tracker = FaceTracker(FaceFinder())
    for i in range(2 + GIVE_UP_AFTER + 1):
        tracker.step(float(i), scene(portrait, (100, 60)) if i in {0, 1, 2 + GIVE_UP_AFTER} else BLANK)
    assert [len(track.times_s) for track in tracker.tracks()] == [2, 1]
    assert tracker.tracks()[0].lost_s == ()


def test_no_face_is_no_track() -> None:
    tracker = FaceTracker(FaceFinder())
    assert tracker.step(0.0, BLANK) == []
    assert tracker.tracks() == ()


def test_a_followed_face_costs_a_full_search_every_two_seconds(portrait: Picture) -> None:
    finder = CountingFinder()
    tracker = FaceTracker(finder)
    for i in range(90):
        tracker.step(i / 30, scene(portrait, (100, 60)))
    assert len(tracker.tracks()[0].times_s) == 90
    assert finder.searches == 2


def test_the_same_frames_give_the_same_boxes(portrait: Picture) -> None:
    def boxes() -> NDArray[np.float32]:
        tracker = FaceTracker(FaceFinder())
        for i in range(6):
            tracker.step(i / 4, scene(portrait, (60 + 9 * i, 40)))
        return tracker.tracks()[0].boxes_xyxy

    assert np.array_equal(boxes(), boxes())


def test_a_small_face_in_a_large_picture_is_found(portrait: Picture) -> None:
    large = np.full((1080, 1920, 3), 90, np.uint8)
    large[300:812, 700:1212] = portrait  # a face of 105 px, a twentieth of the width
    assert len(FaceTracker(FaceFinder()).step(0.0, large)) == 1


def test_no_more_faces_are_followed_than_the_limit() -> None:
    class Crowd(FaceFinder):
        def search(self, frame_hwc: Picture, *, fine: bool = False) -> list[Found]:
            del frame_hwc, fine
            return [Found(np.array([i * 30, 0, i * 30 + 10 + i, 10 + i], np.float32), 1.0) for i in range(20)]

    sightings = FaceTracker(Crowd()).step(0.0, BLANK)
    assert len(sightings) == MAX_FACES
    assert min(s.box_xyxy[2] - s.box_xyxy[0] for s in sightings) == 10 + 20 - MAX_FACES  # the largest
