"""Real portraits with a face box as the service would find it, from the development data's `faces_real`."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faces.crop import resize
from models.faces.find import FaceFinder

Split = Literal["train", "val", "test"]

SURROUND = 0.7  # kept around the box, as a share of its side: the view's margin plus all jitter fits in
LARGEST_BOX = 240  # px; larger faces are shrunk once at loading, since the crop shows them at 100 px
POINTS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")


@dataclass(frozen=True, slots=True)
class Portrait:
    """One person's picture, cut down to the surroundings of the face.

    Attributes:
        name: the file's stem.
        rgb: `(H, W, 3)` uint8 RGB.
        box_xyxy: `(4,)` float32, the face in dlib's convention (brows to chin, ear to ear), pixels of `rgb`.
        points: `(5, 2)` float32 x and y in pixels: the person's right eye (left in the picture), left eye,
            nose, right and left corner of the mouth.
    """

    name: str
    rgb: NDArray[np.uint8]
    box_xyxy: NDArray[np.float32]
    points: NDArray[np.float32]


def load_portraits(data: Path, split: Split, boxes_file: Path) -> list[Portrait]:
    """Every portrait of one split, in the order of the list.

    Args:
        data: folder with `faces_real.csv` and `faces_real/`.
        split: `train`, `val` or `test`; no person is in two.
        boxes_file: where dlib's boxes are cached; written when absent.
    """
    with (data / "faces_real.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    boxes = dlib_boxes(data, rows, boxes_file)
    return [_portrait(data, row, boxes[row["file"]]) for row in rows if row["split"] == split]


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A picture as `(H, W, 3)` uint8 RGB."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise FileNotFoundError(path)
    return picture.astype(np.uint8, copy=False)


def dlib_boxes(data: Path, rows: list[dict[str, str]], boxes_file: Path) -> dict[str, list[float]]:
    """Face boxes `[x0, y0, x1, y1]` by file as dlib's HOG detector draws them, which serving crops by.

    Where the finder sees none, YuNet's box is shifted by the mean difference between the two on all others.
    """
    if boxes_file.exists():
        cached: dict[str, list[float]] = json.loads(boxes_file.read_text())
        return cached
    finder = FaceFinder()
    found = {row["file"]: _dlib_box(finder, read_rgb(data / row["file"]), _yunet_box(row)) for row in rows}
    shift = np.mean([_relative(box, _yunet_box(row)) for row in rows if (box := found[row["file"]])], axis=0)
    boxes = {row["file"]: found[row["file"]] or _absolute(shift, _yunet_box(row)) for row in rows}
    boxes_file.parent.mkdir(parents=True, exist_ok=True)
    boxes_file.write_text(json.dumps(boxes))
    print(f"dlib found {sum(map(bool, found.values()))} of {len(rows)} faces; the others have YuNet's box, shifted")
    return boxes


def _yunet_box(row: dict[str, str]) -> NDArray[np.float64]:
    x, y, width, height = (float(row[f"face_{key}"]) for key in ("x", "y", "w", "h"))
    return np.array([x, y, x + width, y + height])


def _dlib_box(finder: FaceFinder, rgb: NDArray[np.uint8], yunet_xyxy: NDArray[np.float64]) -> list[float]:
    """The detection that covers the centre of YuNet's box, or an empty list."""
    centre = (yunet_xyxy[:2] + yunet_xyxy[2:]) / 2
    for found in finder.search(rgb):
        if np.all(found.box_xyxy[:2] < centre) and np.all(centre < found.box_xyxy[2:]):
            return [float(v) for v in found.box_xyxy]
    return []


def _relative(box: list[float], to_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    size = to_xyxy[2:] - to_xyxy[:2]
    return (np.array(box) - np.tile(to_xyxy[:2], 2)) / np.tile(size, 2)


def _absolute(relative: NDArray[np.float64], to_xyxy: NDArray[np.float64]) -> list[float]:
    size = to_xyxy[2:] - to_xyxy[:2]
    return [float(v) for v in np.tile(to_xyxy[:2], 2) + relative * np.tile(size, 2)]


def _portrait(data: Path, row: dict[str, str], box: list[float]) -> Portrait:
    rgb = read_rgb(data / row["file"])
    points = np.array([[float(row[f"{name}_{axis}"]) for axis in "xy"] for name in POINTS])
    box_xyxy = np.array(box)
    side = float(np.max(box_xyxy[2:] - box_xyxy[:2]))
    corner = np.maximum(box_xyxy[:2] - SURROUND * side, 0).astype(int)
    end = np.ceil(box_xyxy[2:] + SURROUND * side).astype(int)
    rgb = rgb[corner[1] : end[1], corner[0] : end[0]]
    scale = min(1.0, LARGEST_BOX / side)
    if scale < 1:
        rgb = resize(rgb, (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)))
    return Portrait(
        name=Path(row["file"]).stem,
        rgb=np.ascontiguousarray(rgb),
        box_xyxy=((box_xyxy - np.tile(corner, 2)) * scale).astype(np.float32),
        points=((points - corner) * scale).astype(np.float32),
    )
