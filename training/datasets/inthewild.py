"""In-the-Wild (Mueller and others, 2022): voices of 58 public figures, real and cloned, listed in meta.csv."""

from pathlib import Path

from models.types import Class
from training.datasets.items import Item, as_split, in_split
from training.datasets.lines import each_line, table
from training.datasets.splits import by_groups

COLUMNS = ("file", "speaker", "label")
LABELS: dict[str, Class] = {"bona-fide": "real", "spoof": "fake"}


def inthewild(path: Path, *, split: str = "", seed: int = 0) -> tuple[Item, ...]:
    """Read `meta.csv` (file,speaker,label). There are no official splits: most use all of it to test.

    Args:
        path: the folder with meta.csv and the WAV files, or the one that holds `release_in_the_wild`.
        split: puts everything into this split; empty splits by a hash of the speaker.
        seed: of that hash.

    Raises:
        DatasetError: the list is not there, or a line is wrong.
    """
    inner = path / "release_in_the_wild"
    root = inner if inner.is_dir() else path
    rows = table(root / "meta.csv", COLUMNS, COLUMNS)
    items = each_line(root / "meta.csv", rows, lambda cells: _item(root, cells))
    return in_split(items, as_split(split)) if split else by_groups(items, seed)


def _item(root: Path, cells: dict[str, str]) -> Item:
    if cells["label"] not in LABELS or not cells["file"] or not cells["speaker"]:
        raise ValueError(f"not `file,speaker,bona-fide|spoof`: {','.join(cells.values())}")
    label = LABELS[cells["label"]]
    manipulation = "cloned" if label == "fake" else ""
    return Item(root / cells["file"], label, f"inthewild/{cells['speaker']}", "", "inthewild", manipulation, "audio")
