"""What was evaluated: the catalogue's rows and their weights, the manifest, the command, the versions, the date."""

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from models.detectors.catalogue import Catalogue, ModelRow

PACKAGES = ("unmask", "torch", "numpy", "av", "opencv-python-headless", "pillow", "dlib-bin", "onnxruntime")


@dataclass(frozen=True, slots=True)
class RowFacts:
    """One detector as it was: `weights_sha256` of each file, by name; empty if it is not installed."""

    id: str
    revision: str
    scale: float
    bias: float
    weight: float
    files_sha256: dict[str, str]


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a summary is of. `date` is RFC 3339, UTC."""

    model: str
    manifest: str
    manifest_sha256: str
    split: str
    command: str
    date: str
    versions: dict[str, str]
    rows: Sequence[RowFacts]


def provenance(catalogue: Catalogue, model: str, manifest: Path, split: str, command: str) -> Provenance:
    """The facts of an evaluation that is made now."""
    return Provenance(
        model=model,
        manifest=str(manifest),
        manifest_sha256=hashlib.sha256(manifest.read_bytes()).hexdigest(),
        split=split,
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        rows=[_facts(catalogue, row) for row in catalogue.choose(model)],
    )


def _facts(catalogue: Catalogue, row: ModelRow) -> RowFacts:
    files = catalogue.store.files(row) if catalogue.store.is_installed(row) else {}
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    return RowFacts(row.id, row.revision, row.calibration.scale, row.calibration.bias, row.weight, hashes)
