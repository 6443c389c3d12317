"""Celeb-DF v1 and v2 (Li and others, 2020): Celeb-real, YouTube-real, Celeb-synthesis and List_of_testing_videos.txt.

`id0_id1_0000.mp4` shows the person id0 with the face of id1 and belongs to the groups of both; each video of
YouTube-real is a group of its own, since its person is not named.

The official list gives test videos of persons who are also in the others, so it cannot be used for training without
measuring on known faces. Two rules, `splits`:

- `identity`, the default: persons are split by a hash, and swaps between persons of two splits are left out (about half
  of them with 59 persons). The list is not used.
- `official`: the listed videos are test, for figures that compare with published ones. Whatever shares a person with
  them is left out; the rest, which is little, is split between train and val.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from models.types import Class
from training.datasets.items import DatasetError, Item, Split, joined
from training.datasets.lines import each_line, words
from training.datasets.splits import SHARES, by_groups

LIST = "List_of_testing_videos.txt"
FOLDERS: dict[str, Class] = {"Celeb-real": "real", "YouTube-real": "real", "Celeb-synthesis": "fake"}
LABELS: dict[str, Class] = {"1": "real", "0": "fake"}
RULES = ("identity", "official")
_IDS = re.compile(r"(id\d+)(?:_(id\d+))?_\d+$")


def celebdf(path: Path, *, splits: str = "identity", seed: int = 0) -> tuple[Item, ...]:
    """Read Celeb-DF.

    Args:
        path: the folder with the three folders of videos.
        splits: `identity` or `official`; see above.
        seed: of the hash.

    Raises:
        DatasetError: there are no videos, a file's name is none of theirs, or a line of the list is wrong.
    """
    if splits not in RULES:
        raise DatasetError(f"splits is {splits!r}.", f"Known: {', '.join(RULES)}.")
    items = [item for folder, label in FOLDERS.items() for item in _videos(path, folder, label)]
    if not items:
        raise DatasetError(f"{path} has no videos in {', '.join(FOLDERS)}.")
    return by_groups(items, seed) if splits == "identity" else _official(items, path, seed)


def _videos(root: Path, folder: str, label: Class) -> Iterator[Item]:
    for file in sorted((root / folder).glob("*.mp4")):
        yield Item(
            path=file,
            label=label,
            group=joined(f"celebdf/{name}" for name in _names(file)),
            source=f"celebdf/{folder}" if label == "real" else "celebdf",
            manipulation=folder if label == "fake" else "",
        )


def _names(file: Path) -> list[str]:
    """The persons of a video by its name."""
    if file.parent.name == "YouTube-real":
        return [f"youtube-{file.stem}"]
    found = _IDS.match(file.stem)
    if found is None or (found[2] is None) == (FOLDERS[file.parent.name] == "fake"):
        raise DatasetError(f"{file} is not named as in the official download.")
    return [name for name in found.groups() if name]


def _official(items: Iterable[Item], root: Path, seed: int) -> tuple[Item, ...]:
    listed = set(each_line(root / LIST, words(root / LIST), _listed))
    by_name = {item.path.relative_to(root).as_posix(): item for item in items}
    if absent := sorted(listed - by_name.keys()):
        raise DatasetError(f"{root / LIST} names {len(absent)} videos that are not there, such as {absent[0]}.")
    test = [item for name, item in by_name.items() if name in listed]
    rest = [item for name, item in by_name.items() if name not in listed]
    known = {group for item in test for group in item.groups}
    shares: dict[Split, float] = {split: share for split, share in SHARES.items() if split != "test"}
    free = by_groups((item for item in rest if known.isdisjoint(item.groups)), seed, shares)
    left_out = (item for item in rest if not known.isdisjoint(item.groups))
    return (*(replace(item, split="test") for item in test), *free, *left_out)


def _listed(parts: list[str]) -> str:
    """The path of a line such as `1 YouTube-real/00170.mp4`, where 1 is real."""
    label, _, path = " ".join(parts).partition(" ")
    folder = path.partition("/")[0]
    if label not in LABELS or folder not in FOLDERS:
        raise ValueError("not 1 or 0 and a path in " + ", ".join(FOLDERS))
    if LABELS[label] != FOLDERS[folder]:
        raise ValueError(f"{label} is {LABELS[label]}, and {folder} is {FOLDERS[folder]}")
    return path
