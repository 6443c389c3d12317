"""The Deepfake Detection Challenge (Dolhansky and others, 2020): folders of videos, each with a metadata.json."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.types import Class
from training.datasets.items import DatasetError, Item, Split
from training.datasets.lines import each_line
from training.datasets.splits import SHARES, by_groups

LABELS: dict[str, Class] = {"REAL": "real", "FAKE": "fake"}
OFFICIAL: dict[str, Split] = {"train": "train", "val": "val", "validation": "val", "test": "test"}
RULES = ("original", "part")
PLACES = ("", "*/", "*/*/")  # not everywhere: a part has thousands of files


def dfdc(path: Path, *, group_by: str = "original", seed: int = 0) -> tuple[Item, ...]:
    """Read the parts that are there.

    An entry is `"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}`. The published training data says
    `train` everywhere: it is split by a hash of the group among the splits that the metadata does not itself give.

    Args:
        path: one part, or the folder that holds the parts.
        group_by: `original`, the real video that a fake was made from; or `part`, the whole folder. The same actors
            return under several originals of one part, so with ten parts or more `part` is the stricter test.
        seed: of the hash.

    Raises:
        DatasetError: there is no metadata.json, or an entry is wrong.
    """
    if group_by not in RULES:
        raise DatasetError(f"group_by is {group_by!r}.", f"Known: {', '.join(RULES)}.")
    files = [file for place in PLACES for file in sorted(path.glob(f"{place}metadata.json"))]
    if not files:
        raise DatasetError(f"{path} has no metadata.json, nor has a folder in it.")
    items = [item for file in files for item in _part(file, group_by)]
    given = {item.split for item in items} - {"train"}
    shares = {split: share for split, share in SHARES.items() if split not in given}
    drawn = by_groups((item for item in items if item.split == "train"), seed, shares)
    return (*drawn, *(item for item in items if item.split != "train"))


def _part(file: Path, group_by: str) -> list[Item]:
    try:
        content: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{file} is no JSON object of videos.")
    items = each_line(file, enumerate(content.items(), start=1), lambda entry: _item(file.parent, *entry), "entry")
    if group_by == "part":
        return [replace(item, group=f"dfdc/{file.parent.name}") for item in items]
    return items


def _item(folder: Path, name: str, entry: Any) -> Item:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{name}: no JSON object")  # noqa: TRY004 - what `each_line` names
    label = LABELS.get(str(entry.get("label")))
    split = OFFICIAL.get(str(entry.get("split", "train")))
    original = entry.get("original")
    if label is None or split is None:
        raise ValueError(f"{name}: label {entry.get('label')!r}, split {entry.get('split')!r}")
    if label == "fake" and split == "train" and not isinstance(original, str):
        raise ValueError(f"{name}: a fake without its original")
    source = original if label == "fake" and isinstance(original, str) else name
    return Item(
        path=folder / name,
        label=label,
        group=f"dfdc/{Path(source).stem}",
        split=split,
        source="dfdc",
        manipulation="dfdc" if label == "fake" else "",
    )
