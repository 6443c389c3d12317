"""Empty files where a data set would have its media: readers look at names only."""

from collections.abc import Iterable
from pathlib import Path

from training.datasets.items import Item


def lay(root: Path, *names: str) -> Path:
    """Make empty files below a folder; returns the folder."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def by_name(items: Iterable[Item]) -> dict[str, Item]:
    """The items by the stem of their files."""
    return {item.path.stem: item for item in items}
