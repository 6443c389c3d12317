"""Whole portraits: the training cuts them down to the face, but a service is sent the picture."""

import csv
from pathlib import Path

import numpy as np

from models.faces.crop import resize
from training.portraits import LARGEST_BOX, POINTS, Portrait, Split, dlib_boxes, read_rgb


def whole_portraits(data: Path, split: Split, boxes_file: Path) -> list[Portrait]:
    """Every picture of one split, uncut; large ones are shrunk to a face of `LARGEST_BOX` pixels.

    Args:
        data: folder with `faces_real.csv` and `faces_real/`.
        split: of persons.
        boxes_file: cache of the face boxes; written if it is not there.
    """
    with (data / "faces_real.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    boxes = dlib_boxes(data, rows, boxes_file)
    return [_portrait(data, row, boxes[row["file"]]) for row in rows if row["split"] == split]


def _portrait(data: Path, row: dict[str, str], box: list[float]) -> Portrait:
    rgb = read_rgb(data / row["file"])
    box_xyxy = np.array(box, np.float32)
    points = np.array([[float(row[f"{name}_{axis}"]) for axis in "xy"] for name in POINTS], np.float32)
    scale = min(1.0, LARGEST_BOX / float(np.max(box_xyxy[2:] - box_xyxy[:2])))
    if scale < 1:
        rgb = resize(rgb, (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)))
    return Portrait(Path(row["file"]).stem, rgb, box_xyxy * np.float32(scale), points * np.float32(scale))
