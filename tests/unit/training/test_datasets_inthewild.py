from pathlib import Path

import pytest

from tests.unit.training.layout import by_name
from training.datasets.inthewild import inthewild
from training.datasets.items import DatasetError, Manifest

LIST = "file,speaker,label\n0.wav,Alec Guinness,spoof\n4.wav,Alec Guinness,bona-fide\n7.wav,Ayn Rand,bona-fide\n"


def written(root: Path, content: str = LIST) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "meta.csv").write_text(content)
    return root


def test_labels_and_speakers_come_from_the_list(tmp_path: Path) -> None:
    found = by_name(Manifest(inthewild(written(tmp_path))))
    assert {name: (i.label, i.group, i.kind) for name, i in found.items()} == {
        "0": ("fake", "inthewild/Alec Guinness", "audio"),
        "4": ("real", "inthewild/Alec Guinness", "audio"),
        "7": ("real", "inthewild/Ayn Rand", "audio"),
    }
    assert found["0"].split == found["4"].split


def test_the_folder_above_the_release_will_do(tmp_path: Path) -> None:
    written(tmp_path / "release_in_the_wild")
    assert inthewild(tmp_path)[0].path == tmp_path / "release_in_the_wild" / "0.wav"


def test_everything_is_test_when_that_is_asked_for(tmp_path: Path) -> None:
    assert {item.split for item in inthewild(written(tmp_path), split="test")} == {"test"}


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"meta\.csv: line 5: .*9\.wav,Ayn Rand,real"):
        inthewild(written(tmp_path, LIST + "9.wav,Ayn Rand,real\n"))


def test_without_the_list_nothing_is_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"meta\.csv cannot be read"):
        inthewild(tmp_path)
