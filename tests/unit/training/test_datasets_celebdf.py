from pathlib import Path

import pytest

from tests.unit.training.layout import by_name, lay
from training.datasets.celebdf import LIST, celebdf
from training.datasets.items import DatasetError, Manifest

IDS = range(30)
REAL = [f"Celeb-real/id{i}_0000.mp4" for i in IDS]
SWAPS = [f"Celeb-synthesis/id{i}_id{k}_0000.mp4" for i in IDS for k in IDS if i != k]
YOUTUBE = [f"YouTube-real/{i:05}.mp4" for i in range(40)]


def test_a_swap_belongs_to_both_persons(tmp_path: Path) -> None:
    (item,) = celebdf(lay(tmp_path, "Celeb-synthesis/id0_id16_0003.mp4"))
    assert item.groups == ("celebdf/id0", "celebdf/id16")
    assert (item.label, item.manipulation) == ("fake", "Celeb-synthesis")


def test_no_person_is_in_two_splits_and_every_split_has_both_labels(tmp_path: Path) -> None:
    manifest = Manifest(celebdf(lay(tmp_path, *REAL, *SWAPS, *YOUTUBE)))
    manifest.require_labels("train", "val", "test")


def test_swaps_between_persons_of_two_splits_are_left_out(tmp_path: Path) -> None:
    found = by_name(celebdf(lay(tmp_path, *REAL, *SWAPS)))
    for name, item in found.items():
        persons = {found[f"{person}_0000"].split for person in name.split("_") if person.startswith("id")}
        assert item.split == (persons.pop() if len(persons) == 1 else "")


def test_the_official_list_is_test_and_no_person_of_it_is_trained_on(tmp_path: Path) -> None:
    root = lay(tmp_path, *REAL, *SWAPS, *YOUTUBE)
    (root / LIST).write_text(f"1 {YOUTUBE[0]}\n1 {REAL[0]}\n0 {SWAPS[0]}\n\n")
    found = by_name(Manifest(celebdf(root, splits="official")))
    assert {name for name, item in found.items() if item.split == "test"} == {"00000", "id0_0000", "id0_id1_0000"}
    assert found["id1_0000"].split == found["id1_id5_0000"].split == ""
    assert {found[f"id{i}_0000"].split for i in range(2, 30)} == {"train", "val"}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("0 Celeb-real/id0_0000.mp4", "0 is fake, and Celeb-real is real"),
        ("2 Celeb-real/id0_0000.mp4", "not 1 or 0"),
        ("Celeb-real/id0_0000.mp4", "not 1 or 0"),
        ("1 videos/id0_0000.mp4", "not 1 or 0"),
    ],
)
def test_a_wrong_line_of_the_list_is_named(tmp_path: Path, line: str, what: str) -> None:
    root = lay(tmp_path, *REAL)
    (root / LIST).write_text(f"1 {REAL[0]}\n{line}\n")
    with pytest.raises(DatasetError, match=f"line 2: {what}"):
        celebdf(root, splits="official")


def test_a_listed_video_that_is_not_there_is_named(tmp_path: Path) -> None:
    root = lay(tmp_path, *REAL)
    (root / LIST).write_text("1 Celeb-real/id77_0000.mp4\n")
    with pytest.raises(DatasetError, match="1 videos that are not there, such as Celeb-real/id77"):
        celebdf(root, splits="official")


@pytest.mark.parametrize("name", ["Celeb-real/id0_id1_0000.mp4", "Celeb-synthesis/id0_0000.mp4", "Celeb-real/a.mp4"])
def test_a_name_that_is_not_the_official_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="not named as in the official"):
        celebdf(lay(tmp_path, name))


def test_an_unknown_rule_is_refused_naming_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="identity, official"):
        celebdf(tmp_path, splits="random")
