"""What a data set is here: files with a label and a group, and what may never be wrong with them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from models.errors import UnmaskError
from models.types import Class, Kind

Split = Literal["train", "val", "test", ""]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
BETWEEN_GROUPS = "|"  # a fake made of two persons belongs to the groups of both
NAMED = 5  # of many wrong things, how many an error names

SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "video": (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi"),
    "image": (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"),
    "audio": (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".oga", ".opus"),
}


class DatasetError(UnmaskError):
    """A data set is not what it must be: a wrong line, a missing file, a person in two splits."""

    code = "dataset_error"


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a data set.

    Attributes:
        path: the file.
        label: `real` or `fake`.
        group: the person, speaker or source video that must not be in two splits. A fake made of two has both, joined
            by `|`; see `joined` and `groups`.
        split: `train`, `val`, `test`, or empty: left out, because its groups are in different splits.
        source: which collection it is from; figures are given per source.
        manipulation: how a fake was made; empty for what is real, or where it is not known.
        kind: of media.
    """

    path: Path
    label: Class
    group: str
    split: Split = ""
    source: str = ""
    manipulation: str = ""
    kind: Kind = "video"

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups, each alone."""
        return tuple(self.group.split(BETWEEN_GROUPS))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The items of one or several data sets. Nothing that exists as a `Manifest` has a group in two splits.

    Raises:
        DatasetError: there are no items, a file is there twice, or a group is in two splits; it is named.
    """

    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise DatasetError("The data set has no files.")
        _no_file_twice(self.items)
        _no_group_in_two_splits(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __add__(self, other: "Manifest") -> "Manifest":
        return Manifest(self.items + other.items)

    def of(self, split: Split, label: Class | None = None) -> tuple[Item, ...]:
        """The items of a split, or those of one label in it; perhaps none."""
        return tuple(item for item in self.items if item.split == split and label in {None, item.label})

    def missing(self) -> tuple[Path, ...]:
        """Files that are not there."""
        return tuple(item.path for item in self.items if not item.path.is_file())

    def require_files(self) -> None:
        """Raises `DatasetError` naming the first files that are not there."""
        if missing := self.missing():
            raise DatasetError(f"{len(missing)} of {len(self)} files are not there: {_first(map(str, missing))}.")

    def require_labels(self, *splits: Split) -> None:
        """Raises `DatasetError` for a split that has no real or no fake item: nothing can be learnt or measured."""
        wanted = ((split, label) for split in splits for label in get_args(Class))
        if lacking := [f"{split} has no {label} items" for split, label in wanted if not self.of(split, label)]:
            raise DatasetError(f"{'; '.join(lacking)}.", "Add files of more groups, or name the splits in a manifest.")


def joined(groups: Iterable[str]) -> str:
    """The `group` of an item that belongs to all of these."""
    return BETWEEN_GROUPS.join(dict.fromkeys(groups))


def kind_of(path: Path) -> Kind | None:
    """The kind of media by the file's suffix; None for what is no media."""
    return next((kind for kind, suffixes in SUFFIXES.items() if path.suffix.lower() in suffixes), None)


def as_split(text: str) -> Split:
    """A split by its name; raises `DatasetError` naming those there are."""
    if text in get_args(Split):
        return next(split for split in get_args(Split) if split == text)
    raise DatasetError(f"there is no split {text!r}.", f"Splits: {', '.join(SPLITS)}, or empty for what is left out.")


def in_split(items: Iterable[Item], split: Split) -> tuple[Item, ...]:
    """The same items, all in one split."""
    return tuple(replace(item, split=split) for item in items)


def _no_file_twice(items: Iterable[Item]) -> None:
    counts = Counter(item.path.absolute() for item in items)
    if twice := [str(path) for path, count in counts.items() if count > 1]:
        raise DatasetError(f"{len(twice)} files are in the data set more than once: {_first(twice)}.")


def _no_group_in_two_splits(items: Iterable[Item]) -> None:
    splits: dict[str, set[str]] = {}
    for item in items:
        for group in item.groups if item.split else ():
            splits.setdefault(group, set()).add(item.split)
    if torn := [f"{group} in {' and '.join(sorted(found))}" for group, found in splits.items() if len(found) > 1]:
        raise DatasetError(
            f"{len(torn)} groups are in more than one split, so what is learnt of a person would be measured on the "
            f"same person: {_first(torn)}."
        )


def _first(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more
