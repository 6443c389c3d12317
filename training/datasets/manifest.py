"""A CSV file that names every item: what any data set can be written as, and read from again."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from models.types import Class, Kind
from training.datasets.items import DatasetError, Item, Split, as_split, in_split, kind_of
from training.datasets.lines import each_line, table
from training.datasets.splits import by_groups

NEEDED = ("path", "label")
COLUMNS = (*NEEDED, "group", "split", "source", "manipulation", "kind")


def manifest(path: Path, *, split: str = "", seed: int = 0) -> tuple[Item, ...]:
    """Read a CSV manifest.

    Columns are path (absolute, or relative to the CSV's folder) and label; and, where known, group (several joined by
    `|`), split, source, manipulation and kind. Without a group a file is its own; without the column split one is drawn
    by a hash of the group; with the column, an empty cell leaves the item out; without a kind the suffix says it.

    Args:
        path: the CSV.
        split: puts everything into this split, whatever the file says.
        seed: of the hash.

    Raises:
        DatasetError: the header or lines are wrong; each is named.
    """
    rows = table(path, NEEDED, COLUMNS)
    seen: set[str] = set()
    items = each_line(path, rows, lambda cells: _item(cells, path.parent, seen))
    if split:
        return in_split(items, as_split(split))
    has_splits = any("split" in cells for _, cells in rows)
    return tuple(items) if has_splits else by_groups(items, seed)


def write_manifest(items: Iterable[Item], path: Path) -> None:
    """Write what `manifest` reads. Paths below the CSV's folder are relative, so that both can move together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for item in items:
            writer.writerow({name: getattr(item, name) for name in COLUMNS} | {"path": _relative(item.path, path)})


def _item(cells: dict[str, str], folder: Path, seen: set[str]) -> Item:
    if "" in cells:
        raise ValueError("more cells than the header has")
    file = cells["path"]
    if not file:
        raise ValueError("no path")
    if file in seen:
        raise ValueError(f"{file} is there twice")
    seen.add(file)
    return Item(
        path=folder / file,
        label=_label(cells["label"]),
        group=cells.get("group") or file,
        split=_split(cells.get("split", "")),
        source=cells.get("source", ""),
        manipulation=cells.get("manipulation", ""),
        kind=_kind(cells.get("kind", ""), file),
    )


def _label(text: str) -> Class:
    match text.lower():
        case "real":
            return "real"
        case "fake":
            return "fake"
    raise ValueError(f"label {text!r} is neither real nor fake")


def _split(text: str) -> Split:
    try:
        return as_split(text)
    except DatasetError as error:
        raise ValueError(error.detail.removesuffix(".")) from None


def _kind(text: str, file: str) -> Kind:
    """What the cell says, or the suffix."""
    known = {str(kind): kind for kind in get_args(Kind)}
    if text and text not in known:
        raise ValueError(f"kind {text!r} is none of {', '.join(known)}")
    kind = known.get(text) or kind_of(Path(file))
    if kind is None:
        raise ValueError(f"{file} has no suffix of media, and there is no kind")
    return kind


def _relative(file: Path, csv_file: Path) -> str:
    whole, folder = file.absolute(), csv_file.parent.absolute()
    return (whole.relative_to(folder) if whole.is_relative_to(folder) else whole).as_posix()
