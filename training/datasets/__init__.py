"""Data sets: `read` gives a `Manifest` of `Item`s, `training.datasets.extract` their views."""

from training.datasets.items import DatasetError, Item, Manifest
from training.datasets.manifest import write_manifest
from training.datasets.readers import READERS, read

__all__ = ["READERS", "DatasetError", "Item", "Manifest", "read", "write_manifest"]
