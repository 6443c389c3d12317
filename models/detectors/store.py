"""Where the files of models are on this machine, and whether they are what they should be.

Bundled files lie in `models/weights`. Everything else lies in one folder, `<folder>/<model id>/<file name>`, beside a
record `installed.json` of what each file hashed to when it was put there. Nothing here touches the network.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.detectors.weights import sha256_of, verified
from models.errors import NotInstalled, WeightsError

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "models" / "weights"
DEFAULT_FOLDER = Path.home() / ".cache" / "unmask" / "models"
RECORD = "installed.json"


class File(Protocol):
    """A `FileRow` of the catalogue."""

    bundled: str
    path: str | None
    sha256: str | None


class Asset(Protocol):
    """A row of the catalogue, as far as its files go."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def files(self) -> Mapping[str, File]:
        """Its files by name."""


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of installed models.

    Attributes:
        folder: one folder per model in it.
    """

    folder: Path = DEFAULT_FOLDER

    def files(self, asset: Asset) -> dict[str, Path]:
        """The paths of a model's files by name, each checked against its hash.

        Raises:
            NotInstalled: one is not here; the command that brings it is named.
            WeightsError: one was altered, or nothing says what it should be.
        """
        return {name: self._checked(asset, name, file) for name, file in asset.files.items()}

    def home(self, asset: Asset) -> Path:
        """The model's own folder; it may not exist."""
        return self.folder / asset.id

    def is_installed(self, asset: Asset) -> bool:
        """Whether every file is here; their content is not checked."""
        record = self.record(asset)
        return all(self._place(asset, name, file, record).is_file() for name, file in asset.files.items())

    def record(self, asset: Asset) -> dict[str, str]:
        """What was installed: the SHA-256 of each file by its name in the folder; empty if nothing was."""
        try:
            content = json.loads((self.home(asset) / RECORD).read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise WeightsError(f"the record {self.home(asset) / RECORD} cannot be read: {error}.") from error
        return {str(name): str(sha256) for name, sha256 in content["sha256"].items()}

    def _checked(self, asset: Asset, name: str, file: File) -> Path:
        record = self.record(asset)
        path = self._place(asset, name, file, record)
        if not path.is_file():
            how = "convert FILE --as ARCHITECTURE --id" if file.path is not None else "pull"
            raise NotInstalled(f"{asset.id} is not installed: {path} is missing.", f"`unmask models {how} {asset.id}`.")
        # What was converted on the way in is no longer the published file: the record says what it became.
        expected = record.get(path.name) or file.sha256
        if expected is None:
            raise WeightsError(f"nothing says what {path} should hash to.", f"It hashes to {sha256_of(path)}.")
        return verified(path, expected)

    def _place(self, asset: Asset, name: str, file: File, record: Mapping[str, str]) -> Path:
        if file.bundled:
            return BUNDLED / file.bundled
        if file.path:
            return Path(file.path).expanduser()
        here = [entry for entry in record if entry.partition(".")[0] == name]
        return self.home(asset) / (here[0] if here else name)
