"""The whole command, on speech that the test makes."""

import csv
from pathlib import Path

import pytest

from tests.unit.training.speech import spoken
from training.datasets.manifest import manifest
from training.validation.files import sound_bytes
from training.validation.voices import SENTENCES, families, recordings
from training.validation.write import Wanted, write

COLUMNS = ("file", "label", "speaker", "split", "duration_s")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two speakers of sentences, one in training; single words, one too short."""
    folder = tmp_path / "data"
    rows = {
        "speech_real_read.csv": [
            ("speech_real_read/a.flac", "real", "s1", "val", "2.0"),
            ("speech_real_read/b.flac", "real", "s2", "train", "2.0"),
        ],
        "speech.csv": [
            ("speech_real/c.flac", "real", "s3", "val", "2.0"),
            ("speech_real/d.flac", "real", "s3", "val", "0.4"),
            ("speech_fake/e.flac", "fake", "s4", "val", "2.0"),
            ("speech_real_8k/f.flac", "real", "s5", "val", "2.0"),
        ],
    }
    for name, lines in rows.items():
        for line in lines:
            path = folder / line[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sound_bytes(spoken(int(4 * float(line[-1]))), ".flac", 0))
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *lines])
    return folder


def wanted(data: Path, persons: int = 0) -> Wanted:
    return Wanted(data, data.parent / "shared", data.parent / "out", "val", ("sound",), persons)


def test_recordings_are_real_long_enough_at_16_khz_and_of_the_split(data: Path) -> None:
    assert [(of.name, of.source) for of in recordings(data, "val")] == [("a", SENTENCES), ("c", "Mycroft")]


def test_the_manifest_has_a_real_and_a_copy_of_each_pair(data: Path) -> None:
    items = manifest(write(wanted(data)))
    assert all(item.path.is_file() for item in items)
    assert [item.label for item in items] == ["real", "fake"] * (len(items) // 2)
    assert {item.group for item in items} == {"s1", "s3"}
    assert len({item.manipulation for item in items if item.label == "fake"}) > 1


def test_what_is_there_is_not_written_again_and_what_is_not_is(data: Path) -> None:
    items = manifest(write(wanted(data)))
    kept, lost = items[1].path, items[3].path
    before = lost.read_bytes()
    kept.write_bytes(b"kept")
    lost.unlink()
    write(wanted(data))
    assert kept.read_bytes() == b"kept"
    assert lost.read_bytes() == before


def test_fewer_persons_are_the_first_of_them_and_their_files_stay_the_same(data: Path) -> None:
    whole = manifest(write(wanted(data)))
    few = manifest(write(wanted(data, persons=1)))
    assert {item.group for item in few} == {"s1"}
    assert {item.path for item in few} <= {item.path for item in whole}


@pytest.mark.parametrize(("trained", "unseen"), [(False, ["world"]), (True, ["world", "filtered"])])
def test_families_that_are_never_trained_on_are_known_as_such(
    tmp_path: Path, unseen: list[str], *, trained: bool
) -> None:
    vocoders = tmp_path / "vocoders"
    if trained:
        vocoders.mkdir()
    assert [name for name, family in families(vocoders).items() if family.unseen] == unseen
