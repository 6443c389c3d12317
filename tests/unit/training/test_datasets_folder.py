from pathlib import Path

import pytest

from tests.unit.training.layout import by_name, lay
from training.datasets.folder import folder
from training.datasets.items import DatasetError


def test_labels_manipulations_sources_and_kinds_come_from_the_folders(tmp_path: Path) -> None:
    root = lay(tmp_path / "lab", "real/a_1.mp4", "real/phone/b_1.wav", "fake/swap/a_2.mp4", "fake/c_1.png")
    found = by_name(folder(root))
    assert [(i.label, i.manipulation, i.source, i.kind) for i in (found["a_1"], found["b_1"])] == [
        ("real", "", "lab", "video"),
        ("real", "", "lab/phone", "audio"),
    ]
    assert [(i.label, i.manipulation, i.source, i.kind) for i in (found["a_2"], found["c_1"])] == [
        ("fake", "swap", "lab", "video"),
        ("fake", "", "lab", "image"),
    ]


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [("prefix", ["anna", "anna", "ben"]), ("stem", ["anna_1", "anna_2", "ben_1"]), ("folder", ["x", "y", "y"])],
)
def test_groups_are_made_by_the_rule(tmp_path: Path, group_by: str, groups: list[str]) -> None:
    root = lay(tmp_path, "real/x/anna_1.mp4", "fake/swap/y/anna_2.mp4", "fake/swap/y/ben_1.mp4")
    assert sorted(item.group for item in folder(root, group_by=group_by)) == sorted(groups)


def test_files_of_one_group_share_a_split_and_both_labels(tmp_path: Path) -> None:
    names = [f"{label}/p{i}_{k}.mp4" for label in ("real", "fake") for i in range(20) for k in range(2)]
    items = folder(lay(tmp_path, *names))
    assert len({(item.group, item.split) for item in items}) == 20
    assert len({item.split for item in items}) == 3


def test_a_split_that_is_named_takes_everything(tmp_path: Path) -> None:
    items = folder(lay(tmp_path, "real/a.mp4", "fake/b.mp4"), split="test")
    assert [item.split for item in items] == ["test", "test"]


def test_hidden_files_and_what_is_no_media_are_passed_over(tmp_path: Path) -> None:
    root = lay(tmp_path, "real/a.mp4", "fake/b.mp4", "fake/.c.mp4", "fake/.trash/d.mp4", "fake/notes.txt")
    assert set(by_name(folder(root))) == {"a", "b"}


def test_folders_that_are_links_are_followed(tmp_path: Path) -> None:
    lay(tmp_path / "elsewhere", "a.mp4", "b.mp4")
    (tmp_path / "data" / "fake").mkdir(parents=True)
    (tmp_path / "data" / "fake" / "swap").symlink_to(tmp_path / "elsewhere")
    assert {item.manipulation for item in folder(tmp_path / "data")} == {"swap"}


def test_a_rule_that_puts_all_files_into_one_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"all 2 files into one group, 'video'"):
        folder(lay(tmp_path, "real/video_1.mp4", "fake/video_2.mp4"))


def test_a_file_in_no_sub_folder_is_refused_when_folders_are_the_groups(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="in no sub-folder"):
        folder(lay(tmp_path, "real/a.mp4"), group_by="folder")


def test_a_folder_without_media_is_refused_naming_the_suffixes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no media.*\.mp4"):
        folder(lay(tmp_path, "videos/a.mp4"))


def test_an_unknown_rule_is_refused_naming_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="prefix, stem, folder"):
        folder(tmp_path, group_by="person")
