"""Every reader by its name."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from training.datasets.asvspoof import asvspoof
from training.datasets.celebdf import celebdf
from training.datasets.dfdc import dfdc
from training.datasets.faceforensics import faceforensics
from training.datasets.folder import folder
from training.datasets.inthewild import inthewild
from training.datasets.items import DatasetError, Item, Manifest
from training.datasets.manifest import manifest

Reader = Callable[..., tuple[Item, ...]]

READERS: Mapping[str, Reader] = {
    reader.__name__: reader for reader in (folder, manifest, faceforensics, celebdf, dfdc, asvspoof, inthewild)
}


def read(kind: str, path: Path, **options: str | int) -> Manifest:
    """Read a data set.

    Args:
        kind: the reader's name, a key of `READERS`.
        path: the data set's folder, or the CSV.
        options: the reader's own; text is taken for numbers where it wants numbers.

    Raises:
        DatasetError: no such reader or option (those there are, are named), or the data set is not what it must be.
    """
    if kind not in READERS:
        raise DatasetError(f"there is no reader {kind!r}.", f"Readers: {', '.join(READERS)}.")
    if not path.exists():
        raise DatasetError(f"{path} is not there.")
    return Manifest(READERS[kind](path, **_fitting(kind, options)))


def options_of(kind: str) -> dict[str, str | int]:
    """The options of a reader with their defaults."""
    parameters = inspect.signature(READERS[kind]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _fitting(kind: str, options: Mapping[str, str | int]) -> dict[str, str | int]:
    known = options_of(kind)
    if unknown := sorted(options.keys() - known.keys()):
        raise DatasetError(f"{kind} has no option {', '.join(unknown)}.", f"It has: {', '.join(known)}.")
    return {name: _as(type(known[name]), name, value) for name, value in options.items()}


def _as(wanted: type[str | int], name: str, value: str | int) -> str | int:
    try:
        return wanted(value)
    except ValueError as error:
        raise DatasetError(f"{name} is {value!r}, which is no whole number.") from error
