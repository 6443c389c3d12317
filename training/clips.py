"""Face crops of the development clips, found and cut as the service does. Never for training or released figures."""

import csv
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from models.faces.crop import face_crop
from models.faces.find import FaceFinder
from models.faces.track import FaceTracker
from training.recipes.mobilenet_sbi import VIEW

FEWEST_CROPS = 4  # a track seen in fewer frames is a chance hit of the finder


@dataclass(frozen=True, slots=True)
class DevelopmentClip:
    """One clip's face tracks.

    Attributes:
        file: path in the data folder.
        fake: whether it is generated.
        crops: per track `(T, 160, 160, 3)` uint8 RGB.
        face_px: median longer side of the face boxes.
    """

    file: str
    fake: bool
    crops: tuple[NDArray[np.uint8], ...]
    face_px: float


def development_clips(data: Path) -> list[DevelopmentClip]:
    """The clips of `clips.csv`, 16 frames of each spread evenly."""
    with (data / "clips.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    return [_clip(data, row["file"], fake=row["label"] == "fake") for row in rows]


def _clip(data: Path, file: str, *, fake: bool) -> DevelopmentClip:
    tracker = FaceTracker(FaceFinder())
    by_track: dict[int, list[NDArray[np.uint8]]] = {}
    sides = []
    for t_s, rgb in spread_frames(data / file, VIEW.count):
        for seen in tracker.step(t_s, rgb):
            by_track.setdefault(seen.track, []).append(face_crop(rgb, seen.box_xyxy, VIEW.margin, VIEW.size))
            sides.append(float(np.max(seen.box_xyxy[2:] - seen.box_xyxy[:2])))
    crops = tuple(np.stack(track) for track in by_track.values() if len(track) >= FEWEST_CROPS)
    return DevelopmentClip(file, fake, crops, float(np.median(sides)) if sides else 0.0)


def spread_frames(path: Path, count: int) -> list[tuple[float, NDArray[np.uint8]]]:
    """Times in seconds and `(H, W, 3)` uint8 RGB of `count` frames, first and last included."""
    with av.open(str(path)) as container:
        total = sum(1 for _ in container.decode(video=0))
    wanted = set(np.linspace(0, total - 1, count).round().astype(int).tolist())
    with av.open(str(path)) as container:
        frames = (frame for i, frame in enumerate(container.decode(video=0)) if i in wanted)
        return [(float(frame.time or 0), frame.to_ndarray(format="rgb24").astype(np.uint8)) for frame in frames]
