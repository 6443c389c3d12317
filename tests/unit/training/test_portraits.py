import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.unit.training.portrait import astronaut
from training.portraits import POINTS, dlib_boxes, load_portraits

SOURCE = astronaut()


def data_folder(folder: Path, splits: tuple[str, ...]) -> Path:
    """A folder like the development data's, with one and the same portrait per split named."""
    (folder / "faces_real").mkdir()
    rows = []
    for number, split in enumerate(splits):
        file = f"faces_real/{number}.png"
        cv2.imwrite(str(folder / file), cv2.cvtColor(SOURCE.rgb, cv2.COLOR_RGB2BGR))
        points = {f"{name}_{axis}": SOURCE.points[i][k] for i, name in enumerate(POINTS) for k, axis in enumerate("xy")}
        yunet = {"face_x": 88, "face_y": 65, "face_w": 91, "face_h": 111}
        rows.append({"file": file, "split": split, **yunet, **points})
    with (folder / "faces_real.csv").open("w", newline="") as lines:
        table = csv.DictWriter(lines, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return folder


def test_only_the_split_asked_for_is_loaded(tmp_path: Path) -> None:
    data = data_folder(tmp_path, ("train", "val", "train"))
    assert [p.name for p in load_portraits(data, "train", tmp_path / "boxes.json")] == ["0", "2"]


def test_box_and_points_stay_on_the_face_after_cutting(tmp_path: Path) -> None:
    portrait = load_portraits(data_folder(tmp_path, ("train",)), "train", tmp_path / "boxes.json")[0]
    x0, y0, x1, y1 = portrait.box_xyxy
    assert all(x0 < x < x1 and y0 < y < y1 for x, y in portrait.points)
    x, y = portrait.points[2].astype(int)  # the nose: the same skin as before the cut
    before_x, before_y = SOURCE.points[2].astype(int)
    assert np.array_equal(portrait.rgb[y, x], SOURCE.rgb[before_y, before_x])


def test_boxes_are_read_from_the_cache_when_there_is_one(tmp_path: Path) -> None:
    data = data_folder(tmp_path, ("train",))
    cache = tmp_path / "boxes.json"
    cache.write_text(json.dumps({"faces_real/0.png": [90, 70, 180, 160]}))
    assert load_portraits(data, "train", cache)[0].box_xyxy[2] == pytest.approx(180 - 90 + 63, abs=1)


def test_a_face_the_finder_misses_gets_yunets_box_moved_as_on_the_others(tmp_path: Path) -> None:
    data = data_folder(tmp_path, ("train", "train"))
    cv2.imwrite(str(data / "faces_real/1.png"), np.zeros_like(SOURCE.rgb))
    with (data / "faces_real.csv").open() as lines:
        boxes = dlib_boxes(data, list(csv.DictReader(lines)), tmp_path / "boxes.json")
    assert boxes["faces_real/1.png"] == pytest.approx(boxes["faces_real/0.png"])
