"""A small folder in the very layout of the development data: drawn portraits and synthesised speech, with their lists.

The ImageNet weights are not in it: whoever wants them starts from random ones in a smoke run.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from training.portraits import POINTS, Split
from training.recipes.smoke.faces import SIZE_WH, Drawn, draw_face
from training.recipes.smoke.voices import RATE_HZ, Speaker, draw_speaker, speak, write_flac

PERSONS: dict[Split, int] = {"train": 8, "val": 6, "test": 4}
SPEAKERS: dict[Split, int] = {"train": 4, "val": 3, "test": 2}
SENTENCE_S = 4.5  # as long as the longest window of a voice detector, 64,600 samples at 16 kHz, and some more
WORD_S = 1.5
DIGIT_S = 0.5
SOURCE, LICENCE = "drawn or synthesised by training.recipes.smoke", "none needed"

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Take:
    """One recording to make: the file, who is said to speak, and how long."""

    file: str
    speaker: str
    split: Split
    seconds: float
    rate_hz: int = RATE_HZ
    label: str = "real"


def write_data(folder: Path, boxes_file: Path, seed: int) -> None:
    """Write `faces_real.csv`, `speech.csv`, `speech_real_read.csv` and the files that they list.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        boxes_file: the face boxes, as `training.portraits.dlib_boxes` caches them: drawn faces need no finder.
        seed: equal seeds give equal pictures and sounds.
    """
    for name in ("faces_real", "speech_real", "speech_real_read", "speech_real_8k", "speech_fake"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    boxes_file.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    boxes = {}
    for file, split, drawn in _portraits(folder, seed):
        rows.append(_face_row(file, split, drawn))
        boxes[file] = [float(v) for v in drawn.box_xyxy]
    _write_csv(folder / "faces_real.csv", rows)
    boxes_file.write_text(json.dumps(boxes))
    _write_csv(folder / "speech_real_read.csv", _sentences(folder, seed))
    _write_csv(folder / "speech.csv", [*_words(folder, seed), *_digits(folder, seed), *_fakes(folder, seed)])


def _portraits(folder: Path, seed: int) -> Iterator[tuple[str, Split, Drawn]]:
    for number, split in enumerate(_each(PERSONS)):
        drawn = draw_face(np.random.default_rng([seed, number]))
        file = f"faces_real/{number:06d}.jpg"
        cv2.imwrite(str(folder / file), cv2.cvtColor(drawn.rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
        yield file, split, drawn


def _face_row(file: str, split: Split, drawn: Drawn) -> Row:
    x0, y0, x1, y1 = drawn.box_xyxy
    box = {"face_x": x0, "face_y": y0, "face_w": x1 - x0, "face_h": y1 - y0}
    points = {f"{name}_{axis}": drawn.points[i][k] for i, name in enumerate(POINTS) for k, axis in enumerate("xy")}
    return {
        "file": file,
        "icpsr": Path(file).stem,
        "source_folder": "drawn",
        "width": SIZE_WH[0],
        "height": SIZE_WH[1],
        **{key: round(float(value), 1) for key, value in (box | points).items()},
        "face_score": 1.0,
        "last_congress": 0,
        "split": split,
    }


def _sentences(folder: Path, seed: int) -> Iterator[Row]:
    for number, split in enumerate(_each(SPEAKERS)):
        rng = np.random.default_rng([seed, 1, number])
        speaker = draw_speaker(rng)
        for take in (1, 2):
            file = f"speech_real_read/librispeech_{number}_{take}.flac"
            yield _recorded(folder, Take(file, f"librispeech:{number}", split, SENTENCE_S), speaker, rng)


def _words(folder: Path, seed: int) -> Iterator[Row]:
    for number, split in enumerate(_each(SPEAKERS)):
        rng = np.random.default_rng([seed, 2, number])
        speaker = draw_speaker(rng)
        for take in (1, 2):
            file = f"speech_real/word-{number}-{take}.flac"
            yield _recorded(folder, Take(file, f"contributor:{split}", split, WORD_S), speaker, rng)


def _digits(folder: Path, seed: int) -> Iterator[Row]:
    for number, split in enumerate(SPEAKERS):
        rng = np.random.default_rng([seed, 3, number])
        take = Take(f"speech_real_8k/{number}_{split}_5.flac", f"fsdd:{split}", split, DIGIT_S, rate_hz=8000)
        yield _recorded(folder, take, draw_speaker(rng), rng)


def _fakes(folder: Path, seed: int) -> Iterator[Row]:
    """Monotone voices in silent rooms, named as those of the two generators."""
    for number, split in enumerate(SPEAKERS):
        rng = np.random.default_rng([seed, 4, number])
        for name, voice in (
            (f"tortoise_v{number}_smoke", f"tortoise:v{number}"),
            (f"nsf_a_s{number}_b1", f"arctic:s{number}"),
        ):
            machine = replace(draw_speaker(rng), lively=0.0, breath=0.0, room=0.0)
            take = Take(f"speech_fake/{name}.flac", voice, split, SENTENCE_S, label="fake")
            yield _recorded(folder, take, machine, rng)


def _recorded(folder: Path, take: Take, speaker: Speaker, rng: np.random.Generator) -> Row:
    """Write one recording; its row."""
    every = RATE_HZ // take.rate_hz
    samples = speak(speaker, take.seconds, rng).reshape(-1, every).mean(axis=1, dtype=np.float32)
    write_flac(folder / take.file, samples, take.rate_hz)
    return {
        "file": take.file,
        "label": take.label,
        "source": SOURCE,
        "licence": LICENCE,
        "speaker": take.speaker,
        "split": take.split,
        "duration_s": take.seconds,
        "sample_rate": take.rate_hz,
        "source_rate": take.rate_hz,
        "peak_dbfs": round(20 * float(np.log10(np.abs(samples).max())), 1),
        "source_path": take.file,
    }


def _each(counts: Mapping[Split, int]) -> Iterator[Split]:
    for split, count in counts.items():
        yield from (split for _ in range(count))


def _write_csv(path: Path, rows: Iterable[Row]) -> None:
    listed = list(rows)
    with path.open("w", newline="") as lines:
        table = csv.DictWriter(lines, fieldnames=list(listed[0]))
        table.writeheader()
        table.writerows(listed)
