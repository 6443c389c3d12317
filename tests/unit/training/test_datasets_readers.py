import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.training.layout import lay
from training.datasets import READERS, DatasetError, read
from training.datasets.__main__ import main

EVERY = ["folder", "manifest", "faceforensics", "celebdf", "dfdc", "asvspoof", "inthewild"]


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["datasets", *map(str, words)])
    monkeypatch.setenv("COLUMNS", "160")
    return main()


def test_every_reader_has_its_name() -> None:
    assert list(READERS) == EVERY


def test_an_unknown_reader_is_refused_naming_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'kodf'.*folder, manifest, faceforensics"):
        read("kodf", tmp_path)


def test_an_unknown_option_is_refused_naming_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"folder has no option sed.*group_by, split, seed"):
        read("folder", tmp_path, sed=1)


def test_an_option_in_words_becomes_the_number_the_reader_wants(tmp_path: Path) -> None:
    root = lay(tmp_path, *(f"real/p{i}.mp4" for i in range(20)))
    assert read("folder", root, seed="3") == read("folder", root, seed=3) != read("folder", root)


def test_an_option_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="seed is 'x'"):
        read("folder", tmp_path, seed="x")


def test_a_path_that_is_not_there_is_refused() -> None:
    with pytest.raises(DatasetError, match="is not there"):
        read("folder", Path("/nowhere"))


def test_what_leaks_is_refused_whatever_the_reader(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("path,label,group,split\na.mp4,real,ann,train\nb.mp4,fake,ann,test\n")
    with pytest.raises(DatasetError, match="ann in test and train"):
        read("manifest", tmp_path / "data.csv")


def test_the_command_counts_by_split_and_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lay(tmp_path, "a.mp4")
    (tmp_path / "data.csv").write_text(
        "path,label,group,split,source,manipulation\n"
        "a.mp4,real,ann,train,lab,\nb.mp4,fake,ann,train,lab,swap\nc.mp4,fake,ben,val,lab,swap\n"
    )
    assert run(monkeypatch, "manifest", tmp_path / "data.csv") == 0
    told = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.splitlines() if "│" in line]
    assert rows == [
        ["lab", "fake", "swap", "1", "1", "0", "0"],
        ["lab", "real", "", "1", "0", "0", "0"],
        ["items", "", "", "2", "1", "0", "0"],
        ["groups", "", "", "1", "1", "0", "0"],
    ]
    assert f"2 files are not there, the first is {tmp_path / 'b.mp4'}" in told
    assert "val has only fake items" in told


def test_the_command_writes_a_manifest_that_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = lay(tmp_path / "lab", *(f"{label}/x/p{i}_1.mp4" for label in ("real", "fake") for i in range(9)))
    assert run(monkeypatch, "folder", root, "--option", "seed=4", "--csv", tmp_path / "out.csv") == 0
    assert read("manifest", tmp_path / "out.csv") == read("folder", root, seed=4)


@pytest.mark.parametrize("words", [("kodf", "."), ("folder", "/nowhere"), ("folder", ".", "--option", "seed")])
def test_what_is_wrong_ends_the_command_with_one_line(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *words) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_reading_a_data_set_loads_neither_torch_nor_dlib() -> None:
    check = "import sys, training.datasets; assert not {'torch', 'dlib', 'cv2', 'av'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)
