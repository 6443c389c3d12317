import json
from pathlib import Path

import pytest

from tests.unit.training.layout import by_name, lay
from training.datasets.faceforensics import faceforensics, official_splits
from training.datasets.items import DatasetError, Manifest
from training.datasets.splits import hash_split

PAIRS = {"train": [["071", "054"], ["087", "081"]], "val": [["720", "672"]], "test": [["953", "974"]]}
NAMES = (
    "original_sequences/youtube/c23/videos/071.mp4",
    "original_sequences/youtube/c23/videos/672.mp4",
    "manipulated_sequences/Deepfakes/c23/videos/071_054.mp4",
    "manipulated_sequences/FaceShifter/c23/videos/974_953.mp4",
    "manipulated_sequences/NeuralTextures/c23/videos/672_720.mp4",
)


def official(folder: Path, pairs: dict[str, list[list[str]]] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, content in (pairs or PAIRS).items():
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder


def test_videos_have_the_official_split_and_the_groups_of_both_ids(tmp_path: Path) -> None:
    official(lay(tmp_path, *NAMES) / "splits")
    found = by_name(Manifest(faceforensics(tmp_path)))
    assert {name: (i.label, i.split, i.manipulation) for name, i in found.items()} == {
        "071": ("real", "train", ""),
        "672": ("real", "val", ""),
        "071_054": ("fake", "train", "Deepfakes"),
        "974_953": ("fake", "test", "FaceShifter"),
        "672_720": ("fake", "val", "NeuralTextures"),
    }
    assert found["071_054"].groups == ("faceforensics/071", "faceforensics/054")


def test_splits_are_read_from_the_folder_that_is_named(tmp_path: Path) -> None:
    lists = official(tmp_path / "lists")
    assert len(faceforensics(lay(tmp_path / "data", *NAMES), splits=str(lists))) == 5


def test_without_the_official_splits_nothing_is_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no train\.json.*splits=FOLDER"):
        faceforensics(lay(tmp_path, *NAMES))


def test_a_pair_whose_ids_are_in_two_splits_is_refused(tmp_path: Path) -> None:
    official(lay(tmp_path, *NAMES, "manipulated_sequences/FaceSwap/c23/videos/071_720.mp4"))
    with pytest.raises(DatasetError, match=r"071_720\.mp4 is in no one official split: .*071 in train, .*720 in val"):
        faceforensics(tmp_path)


def test_a_video_that_no_list_names_is_refused(tmp_path: Path) -> None:
    official(lay(tmp_path, *NAMES, "original_sequences/youtube/c23/videos/999.mp4"))
    with pytest.raises(DatasetError, match="999 in none"):
        faceforensics(tmp_path)


def test_lists_that_name_an_id_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"071 is in train\.json and in test\.json"):
        official_splits(official(tmp_path, {**PAIRS, "test": [["071", "974"]]}))


@pytest.mark.parametrize("content", [{"train": []}, [["071"]], [[71, 54]], ["071_054"]])
def test_a_list_that_is_not_of_pairs_is_refused(tmp_path: Path, content: object) -> None:
    folder = official(tmp_path)
    (folder / "val.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"val\.json: entry 1 is no pair"):
        official_splits(folder)


def test_of_several_compressions_one_must_be_chosen(tmp_path: Path) -> None:
    official(lay(tmp_path, *NAMES, "original_sequences/youtube/c40/videos/071.mp4"))
    with pytest.raises(DatasetError, match="c23, c40"):
        faceforensics(tmp_path)
    assert [item.path.name for item in faceforensics(tmp_path, compression="c40")] == ["071.mp4"]


def test_a_compression_that_is_not_there_is_refused_naming_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"compression c40.*There are: c23"):
        faceforensics(lay(tmp_path, *NAMES), compression="c40")


def test_masks_and_images_are_passed_over(tmp_path: Path) -> None:
    official(lay(tmp_path, *NAMES, "manipulated_sequences/Deepfakes/masks/videos/071_054.mp4"))
    assert len(faceforensics(tmp_path)) == 5


def test_swaps_between_actors_of_two_splits_are_left_out(tmp_path: Path) -> None:
    actors = {hash_split(f"faceforensics/actor{i:02}"): f"{i:02}" for i in range(1, 29)}
    one, other = actors["train"], actors["test"]
    root = lay(
        tmp_path,
        f"original_sequences/actors/c23/videos/{one}__walking.mp4",
        f"manipulated_sequences/DeepFakeDetection/c23/videos/{one}_{other}__walking__ABCD1234.mp4",
    )
    real, swap = Manifest(faceforensics(root))
    assert (real.split, real.group) == ("train", f"faceforensics/actor{one}")
    assert (swap.split, swap.label, swap.manipulation) == ("", "fake", "DeepFakeDetection")


def test_a_name_that_is_not_the_official_one_is_refused(tmp_path: Path) -> None:
    official(lay(tmp_path, *NAMES, "original_sequences/youtube/c23/videos/holiday.mp4"))
    with pytest.raises(DatasetError, match=r"holiday\.mp4 is not named"):
        faceforensics(tmp_path)
