"""A folder with `real/` and `fake/`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from models.types import Class
from training.datasets.items import SUFFIXES, DatasetError, Item, as_split, in_split, kind_of
from training.datasets.splits import by_groups

RULES = ("prefix", "stem", "folder")


def folder(path: Path, *, group_by: str = "prefix", split: str = "", seed: int = 0) -> tuple[Item, ...]:
    """Everything below `real/` and `fake/` that is media by its suffix; hidden files are passed over.

    The first sub-folder of `fake/` names the manipulation, that of `real/` is added to the source.

    Args:
        path: the folder.
        group_by: what files of one person share: `prefix`, their name up to the first `_`; `stem`, the whole name
            (each file is its own group, but `real/a.mp4` and `fake/x/a.mp4` are one); `folder`, the innermost one.
        split: puts everything into this split; empty splits by a hash of the group.
        seed: of that hash.

    Raises:
        DatasetError: there is no media, a rule does not fit, or the rule puts all files into one group.
    """
    if group_by not in RULES:
        raise DatasetError(f"group_by is {group_by!r}.", f"Known: {', '.join(RULES)}.")
    items = [item for label in get_args(Class) for item in _labelled(path, label, group_by)]
    if not items:
        raise DatasetError(f"{path} has no media below real/ or fake/.", f"Suffixes: {', '.join(_suffixes())}.")
    if split:
        return in_split(items, as_split(split))
    if len({item.group for item in items}) == 1 < len(items):
        raise DatasetError(
            f"group_by={group_by} puts all {len(items)} files into one group, {items[0].group!r}: there is no split.",
            f"Choose another rule ({', '.join(RULES)}), or name a split.",
        )
    return by_groups(items, seed)


def _labelled(root: Path, label: Class, group_by: str) -> Iterator[Item]:
    below = root / label
    for file in _files(below):
        parts = file.relative_to(below).parts
        kind = kind_of(file)
        if kind is None or any(part.startswith(".") for part in parts):
            continue
        named = parts[0] if len(parts) > (2 if group_by == "folder" else 1) else ""
        yield Item(
            path=file,
            label=label,
            group=_group(file, parts, group_by),
            source="/".join([root.name, named] if named and label == "real" else [root.name]),
            manipulation=named if label == "fake" else "",
            kind=kind,
        )


def _files(below: Path) -> list[Path]:
    """All files, also those in folders that are links: large data sets are rarely where they are listed."""
    return sorted(Path(where) / name for where, _, names in os.walk(below, followlinks=True) for name in names)


def _group(file: Path, parts: tuple[str, ...], group_by: str) -> str:
    if group_by == "folder":
        if len(parts) == 1:
            raise DatasetError(f"group_by=folder, and {file} is in no sub-folder of real/ or fake/.")
        return parts[-2]
    return file.stem.partition("_")[0] if group_by == "prefix" else file.stem


def _suffixes() -> list[str]:
    return [suffix for suffixes in SUFFIXES.values() for suffix in suffixes]
