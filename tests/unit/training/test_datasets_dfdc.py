import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.layout import by_name
from training.datasets.dfdc import dfdc
from training.datasets.items import DatasetError, Manifest

Entry = dict[str, Any]


def real(split: str = "train") -> Entry:
    return {"label": "REAL", "split": split}


def fake(original: str | None, split: str = "train") -> Entry:
    return {"label": "FAKE", "split": split, "original": original}


def part(root: Path, name: str, **entries: Entry) -> Path:
    (root / name).mkdir(parents=True)
    content = {f"{video}.mp4": entry for video, entry in entries.items()}
    (root / name / "metadata.json").write_text(json.dumps(content))
    return root


def test_a_fake_is_in_the_group_of_its_original(tmp_path: Path) -> None:
    found = by_name(dfdc(part(tmp_path, "dfdc_train_part_0", a=real(), b=fake("a.mp4"))))
    assert (found["a"].label, found["b"].label) == ("real", "fake")
    assert found["a"].group == found["b"].group == "dfdc/a"
    assert found["a"].split == found["b"].split != ""
    assert found["a"].path == tmp_path / "dfdc_train_part_0" / "a.mp4"


def test_every_part_is_read_and_training_data_is_split_by_original(tmp_path: Path) -> None:
    for number in range(4):
        videos = {f"v{number}{i}": real() for i in range(10)} | {
            f"w{number}{i}": fake(f"v{number}{i}.mp4") for i in range(10)
        }
        part(tmp_path, f"dfdc_train_part_{number}", **videos)
    manifest = Manifest(dfdc(tmp_path))
    assert len(manifest) == 80
    manifest.require_labels("train", "val", "test")


def test_a_whole_part_is_one_group_when_parts_are_the_groups(tmp_path: Path) -> None:
    root = part(part(tmp_path, "p0", a=real(), b=fake("a.mp4"), c=real()), "p1", d=real())
    assert sorted(item.group for item in dfdc(root, group_by="part")) == ["dfdc/p0", "dfdc/p0", "dfdc/p0", "dfdc/p1"]


def test_a_split_that_the_metadata_gives_is_kept_and_not_drawn_again(tmp_path: Path) -> None:
    root = part(tmp_path, "train", **{f"v{i}": real() for i in range(40)})
    found = by_name(dfdc(part(root, "more", t=fake(None, "test"), u=real("validation"))))
    assert (found["t"].split, found["u"].split) == ("test", "val")
    assert {found[f"v{i}"].split for i in range(40)} == {"train"}


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"label": "MAYBE", "split": "train"}, "label 'MAYBE'"),
        ({"label": "REAL", "split": "dev"}, "split 'dev'"),
        (fake(None), "without its original"),
        ("REAL", "no JSON object"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, entry: Any, what: str) -> None:
    with pytest.raises(DatasetError, match=rf"entry 2: b\.mp4: .*{what}"):
        dfdc(part(tmp_path, "p", a=real(), b=entry))


def test_metadata_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text("{")
    with pytest.raises(DatasetError, match="cannot be read"):
        dfdc(tmp_path)


def test_a_folder_without_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no metadata\.json"):
        dfdc(tmp_path)
