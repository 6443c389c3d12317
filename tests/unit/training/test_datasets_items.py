from dataclasses import replace
from pathlib import Path

import pytest

from training.datasets.items import DatasetError, Item, Manifest, joined, kind_of

ANNA = Item(Path("a.mp4"), "real", "anna", "train")
BEN = Item(Path("b.mp4"), "fake", "ben", "val")


def test_a_manifest_without_items_is_refused() -> None:
    with pytest.raises(DatasetError, match="no files"):
        Manifest(())


def test_a_group_in_two_splits_is_refused_and_named() -> None:
    with pytest.raises(DatasetError, match="anna in train and val"):
        Manifest((ANNA, replace(BEN, group="anna")))


def test_a_fake_of_two_groups_ties_both_to_its_split() -> None:
    with pytest.raises(DatasetError, match="anna in train and val"):
        Manifest((ANNA, replace(BEN, group=joined(["ben", "anna"]))))


def test_what_is_left_out_leaks_nothing() -> None:
    assert len(Manifest((ANNA, replace(BEN, group="anna", split="")))) == 2


def test_manifests_put_together_are_checked_against_each_other() -> None:
    with pytest.raises(DatasetError, match="anna"):
        Manifest((ANNA,)) + Manifest((replace(BEN, group="anna"),))


def test_a_file_that_is_there_twice_is_refused_and_named() -> None:
    with pytest.raises(DatasetError, match=r"a\.mp4"):
        Manifest((ANNA, replace(ANNA, label="fake")))


def test_missing_files_are_counted_and_the_first_named() -> None:
    many = tuple(replace(ANNA, path=Path(f"none/{i}.mp4")) for i in range(9))
    with pytest.raises(DatasetError, match=r"9 of 9 files are not there: none/0\.mp4, .*none/4\.mp4 and 4 more"):
        Manifest(many).require_files()


def test_files_that_are_there_are_not_missing(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    Manifest((replace(ANNA, path=tmp_path / "a.mp4"),)).require_files()


def test_a_split_that_lacks_a_label_is_refused_where_both_are_needed() -> None:
    with pytest.raises(DatasetError, match="train has no fake items; val has no real items"):
        Manifest((ANNA, BEN)).require_labels("train", "val")


def test_of_gives_the_items_of_a_split_and_a_label() -> None:
    manifest = Manifest((ANNA, BEN))
    assert manifest.of("train") == (ANNA,)
    assert manifest.of("train", "fake") == ()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.MP4", "video"), ("a.jpeg", "image"), ("a.flac", "audio"), ("a.txt", None), ("a", None)],
)
def test_the_kind_is_known_by_the_suffix(name: str, kind: str | None) -> None:
    assert kind_of(Path(name)) == kind
