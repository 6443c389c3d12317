import csv
import json
from pathlib import Path

import numpy as np
import pytest

from models.faces.find import FaceFinder
from training.portraits import load_portraits
from training.recipes.smoke.data import write_data
from training.recipes.smoke.faces import draw_face
from training.recipes.smoke.voices import RATE_HZ, Speaker, speak

FACES_HEADER = (
    "file,icpsr,source_folder,width,height,face_x,face_y,face_w,face_h,right_eye_x,right_eye_y,left_eye_x,left_eye_y,"
    "nose_x,nose_y,mouth_right_x,mouth_right_y,mouth_left_x,mouth_left_y,face_score,last_congress,split"
)
SPEECH_HEADER = "file,label,source,licence,speaker,split,duration_s,sample_rate,source_rate,peak_dbfs,source_path"
VOICE = Speaker(pitch_hz=125, tract=1, breath=0.02, room=1e-4, level=0.5, lively=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smoke")
    write_data(folder, folder / "boxes.json", seed=1)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("seed", range(6))
def test_a_drawn_face_is_found_where_it_was_drawn(seed: int) -> None:
    drawn = draw_face(np.random.default_rng(seed))
    found = FaceFinder().search(drawn.rgb)
    assert len(found) == 1
    side = drawn.box_xyxy[2] - drawn.box_xyxy[0]
    assert found[0].box_xyxy == pytest.approx(drawn.box_xyxy, abs=0.15 * side)


def test_eyes_are_darker_than_the_nose_where_the_points_say() -> None:
    drawn = draw_face(np.random.default_rng(1))
    right_eye, left_eye, nose = (drawn.rgb[int(y), int(x)].mean() for x, y in drawn.points[:3])
    assert max(right_eye, left_eye) < 0.6 * nose


def test_equal_seeds_draw_equal_faces_and_others_others() -> None:
    one, same, other = (draw_face(np.random.default_rng(seed)).rgb for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert np.abs(one.astype(int) - other).mean() > 10


def test_a_voice_has_the_pitch_and_the_level_asked_for() -> None:
    sound = speak(VOICE, 2.0, np.random.default_rng(1))
    assert sound.shape == (2 * RATE_HZ,)
    assert np.abs(sound).max() == pytest.approx(0.5)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    by_pitch = {hz: sum(spectrum[2 * harmonic * hz] for harmonic in range(1, 10)) for hz in (113, 125, 137)}
    assert by_pitch[125] > 20 * max(by_pitch[113], by_pitch[137])


def test_equal_seeds_speak_equally() -> None:
    one, same, other = (speak(VOICE, 0.5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "header"),
    [("faces_real.csv", FACES_HEADER), ("speech.csv", SPEECH_HEADER), ("speech_real_read.csv", SPEECH_HEADER)],
)
def test_the_lists_have_the_columns_of_the_development_data(name: str, header: str, folder: Path) -> None:
    assert set(rows(folder / name)[0]) >= set(header.split(","))


@pytest.mark.parametrize("name", ["faces_real.csv", "speech.csv", "speech_real_read.csv"])
def test_every_file_listed_is_there_and_no_group_is_in_two_splits(name: str, folder: Path) -> None:
    listed = rows(folder / name)
    assert all((folder / row["file"]).stat().st_size for row in listed)
    groups = {(row.get("speaker", row.get("icpsr")), row["split"]) for row in listed}
    assert len(groups) == len({group for group, _ in groups})
    assert {row["split"] for row in listed} == {"train", "val", "test"}


def test_portraits_are_read_with_the_boxes_that_were_drawn(folder: Path) -> None:
    before = (folder / "boxes.json").read_text()
    portraits = load_portraits(folder, "val", folder / "boxes.json")
    assert (folder / "boxes.json").read_text() == before
    assert set(json.loads(before)) == {row["file"] for row in rows(folder / "faces_real.csv")}
    for face in portraits:
        x0, y0, x1, y1 = face.box_xyxy
        assert all(x0 < x < x1 and y0 < y < y1 for x, y in face.points)
