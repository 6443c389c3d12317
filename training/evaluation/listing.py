"""The labelled files that are evaluated: a CSV manifest, or one split of it."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from training.datasets import Item, Manifest
from training.datasets.manifest import manifest
from training.evaluation.errors import EvaluationError


@dataclass(frozen=True, slots=True)
class Listed:
    """An item, and what results call it: its path from the manifest's folder."""

    name: str
    item: Item

    @property
    def group(self) -> str:
        """Whose items are resampled together; of a fake made of two persons, the first one's."""
        return self.item.groups[0]


def listed(path: Path, split: str = "", kinds: Collection[str] = ()) -> list[Listed]:
    """The items of a manifest.

    Args:
        path: the CSV; `training.datasets.manifest` says what is in it.
        split: only the items of this split; empty for all.
        kinds: only media of these kinds; none for all.

    Raises:
        DatasetError: the manifest is wrong; each line is named.
        EvaluationError: there is nothing to compare: no item, or all of one class.
    """
    try:
        every = Manifest(manifest(path)).items
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}.") from error
    chosen = [item for item in every if split in {"", item.split} and (not kinds or item.kind in kinds)]
    labels = Counter(item.label for item in chosen)
    where = ", ".join([str(path), *([f"split {split}"] if split else []), *kinds])
    if not chosen:
        splits = sorted({item.split for item in every if item.split})
        raise EvaluationError(f"{where} has no items.", f"Its splits: {', '.join(splits) or 'none'}.")
    if len(labels) == 1:
        only = next(iter(labels))
        raise EvaluationError(f"{where}: all {len(chosen)} items are {only}.", "Reals and fakes are needed.")
    return [Listed(_name(item.path, path.parent), item) for item in chosen]


def _name(file: Path, folder: Path) -> str:
    whole, folder = file.absolute(), folder.absolute()
    return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)
