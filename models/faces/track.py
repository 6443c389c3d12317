"""Following several faces through the analysed frames of one clip.

The whole frame is searched every two seconds and whenever a followed face is lost; between, each face is looked for
only near where it was. A face that is not found in a frame is recorded as lost there: no box is made up for it.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.faces.find import Finder, Found
from models.types import Track

SEARCH_EVERY_S = 2.0
# While no face has been seen, every fourth frame is searched finely: small faces cost four times the search.
FINE_EVERY = 4
# A face missing in this many analysed frames in a row has left; one that appears later is a new track.
GIVE_UP_AFTER = 4
# Two boxes are the same face if their centres are closer than this share of the box, and their sizes alike.
SAME_FACE_DISTANCE = 0.8
SAME_FACE_GROWTH = 1.6
# No more faces than this are followed at once; of new ones the largest come first. Bounds the crops in memory.
MAX_FACES = 8
# The detector's boxes come in steps of a sixth; their size is averaged over time, their centre is not.
SIZE_MEMORY = 0.6


@dataclass(slots=True)
class _Followed:
    number: int
    box_xyxy: NDArray[np.float32]
    times_s: list[float] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    lost_s: list[float] = field(default_factory=list)
    missing: int = 0

    def seen(self, t_s: float, box_xyxy: NDArray[np.float32]) -> None:
        self.box_xyxy = _steady(self.box_xyxy, box_xyxy) if self.boxes else box_xyxy
        self.times_s.append(t_s)
        self.boxes.append(self.box_xyxy)
        self.missing = 0

    def missed(self, t_s: float) -> None:
        self.lost_s.append(t_s)
        self.missing += 1

    def track(self) -> Track:
        between = tuple(t for t in self.lost_s if t < self.times_s[-1])
        return Track(self.number, np.array(self.times_s), np.stack(self.boxes), between)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A face found in the current frame.

    Attributes:
        track: its track's number.
        box_xyxy: `(4,)` float32 in pixels; its size is steadied over time.
        points: `(5, 2)` float32 as in `Found`, of this very frame; None if the finder gives none.
    """

    track: int
    box_xyxy: NDArray[np.float32]
    points: NDArray[np.float32] | None = None


class FaceTracker:
    """Follows the faces of one clip. Give it the frames in order; the same frames give the same tracks."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._faces: list[_Followed] = []
        self._searched_s = float("-inf")
        self._frames = 0

    def step(self, t_s: float, frame_hwc: NDArray[np.uint8]) -> list[Sighting]:
        """Faces found in this `(H, W, 3)` uint8 RGB frame, shown at `t_s` seconds."""
        active = [face for face in self._faces if face.missing < GIVE_UP_AFTER]
        if self._search_is_due(t_s, active):
            matched = self._match(active, self._search(t_s, frame_hwc))
        else:
            matched = self._follow(frame_hwc, active)
            if len(matched) < len(active):
                matched = self._match(active, self._search(t_s, frame_hwc))
        self._frames += 1
        return self._record(t_s, active, matched)

    def tracks(self) -> tuple[Track, ...]:
        """All faces seen so far, in order of first appearance."""
        return tuple(face.track() for face in self._faces)

    def _search_is_due(self, t_s: float, active: list[_Followed]) -> bool:
        return not active or any(f.missing for f in active) or t_s - self._searched_s >= SEARCH_EVERY_S

    def _search(self, t_s: float, frame_hwc: NDArray[np.uint8]) -> list[Found]:
        self._searched_s = t_s
        found = self._finder.search(frame_hwc)
        if not found and not self._faces and self._frames % FINE_EVERY == 0:
            found = self._finder.search(frame_hwc, fine=True)
        return sorted(found, key=lambda hit: -float(_area([hit.box_xyxy])[0]))

    def _follow(self, frame_hwc: NDArray[np.uint8], active: list[_Followed]) -> dict[int, Found]:
        matched = {}
        for face in active:
            found = self._finder.near(frame_hwc, face.box_xyxy)
            if found and _distance(face.box_xyxy, found.box_xyxy) < SAME_FACE_DISTANCE:
                matched[face.number] = found
        return matched

    def _match(self, active: list[_Followed], found: list[Found]) -> dict[int, Found]:
        pairs = sorted(
            (_distance(face.box_xyxy, hit.box_xyxy), face.number, i) for face in active for i, hit in enumerate(found)
        )
        matched: dict[int, int] = {}
        for distance, number, i in pairs:
            if distance < SAME_FACE_DISTANCE and number not in matched and i not in matched.values():
                matched[number] = i
        hits = {number: found[i] for number, i in matched.items()}
        strangers = [i for i in range(len(found)) if i not in matched.values()]
        for i in strangers[: max(0, MAX_FACES - len(active))]:
            face = _Followed(len(self._faces), found[i].box_xyxy)
            self._faces.append(face)
            active.append(face)
            hits[face.number] = found[i]
        return hits

    def _record(self, t_s: float, active: list[_Followed], matched: dict[int, Found]) -> list[Sighting]:
        for face in active:
            if face.number in matched:
                face.seen(t_s, matched[face.number].box_xyxy)
            else:
                face.missed(t_s)
        return [
            Sighting(face.number, face.box_xyxy, matched[face.number].points)
            for face in active
            if face.number in matched
        ]


def _distance(a_xyxy: NDArray[np.float32], b_xyxy: NDArray[np.float32]) -> float:
    """Distance of two boxes' centres in sides of the first; infinite where their sizes differ too much."""
    side_a, side_b = float(a_xyxy[2] - a_xyxy[0]), float(b_xyxy[2] - b_xyxy[0])
    if max(side_a, side_b) > SAME_FACE_GROWTH * min(side_a, side_b):
        return float("inf")
    offset = (a_xyxy[:2] + a_xyxy[2:] - b_xyxy[:2] - b_xyxy[2:]) / 2
    return float(np.hypot(*offset)) / max(side_a, 1.0)


def _steady(before_xyxy: NDArray[np.float32], now_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """The new box at its own centre, its size averaged with the one before."""
    centre = (now_xyxy[:2] + now_xyxy[2:]) / 2
    half = ((1 - SIZE_MEMORY) * (now_xyxy[2:] - now_xyxy[:2]) + SIZE_MEMORY * (before_xyxy[2:] - before_xyxy[:2])) / 2
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def _area(boxes_xyxy: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    boxes = np.stack(boxes_xyxy)
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float32)
