"""Where the files of models are on this machine, and whether they are what they should be.

Bundled files lie in `models/weights`. Everything else lies in one folder, `<folder>/<model id>/<name>.<suffix>`, beside
a record `installed.json` of where each file is from and what it hashed to when it was put there. A file counts only
once it is in the record. Nothing here touches the network.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
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
    url: str
    huggingface: str
    revision: str
    file: str
    path: str | None
    sha256: str | None


class Asset(Protocol):
    """A row of the catalogue, as far as its files go."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def architecture(self) -> str:
        """What its files are weights of."""

    @property
    def files(self) -> Mapping[str, File]:
        """Its files by name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as the record has it.

    Attributes:
        file: its name in the model's folder.
        sha256: of the file in the folder.
        size_bytes: of the file in the folder.
        source: as `source_of` says it; `operator` for a file that was handed in.
        source_sha256: of what was downloaded or handed in; another one than `sha256` if that was converted.
        commit: of the hub's repository, when the hub said so.
        installed_at: RFC 3339, UTC.
    """

    file: str
    sha256: str
    size_bytes: int
    source: str
    source_sha256: str
    commit: str = ""
    installed_at: str = ""

    def answers(self, file: File) -> bool:
        """Whether this is what the catalogue asks for now: the same source, and the hash it pins if it pins one."""
        same = self.source == source_of(file)
        return same and file.sha256 in {None, self.source_sha256, self.sha256}


def source_of(file: File) -> str:
    """Where the catalogue takes a file from, the same whatever mirror of the hub is used."""
    if file.huggingface:
        return f"huggingface:{file.huggingface}@{file.revision}/{file.file}"
    return file.url or "operator"


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
        return {name: self.file(asset, name) for name in asset.files}

    def file(self, asset: Asset, name: str) -> Path:
        """The path of one file of a model, checked. Raises as `files`."""
        path, expected = self._place(asset, name, self.record(asset))
        if not path.is_file():
            raise NotInstalled(f"{asset.id} is not installed: {path} is missing.", _how(asset, name))
        if expected is None:
            raise WeightsError(f"nothing says what {path} should hash to.", f"It hashes to {sha256_of(path)}.")
        return verified(path, expected)

    def problems(self, asset: Asset) -> dict[str, WeightsError | None]:
        """What is wrong with each file, by name; every file is read whole."""
        found: dict[str, WeightsError | None] = dict.fromkeys(asset.files)
        for name in asset.files:
            try:
                self.file(asset, name)
            except WeightsError as error:
                found[name] = error
        return found

    def home(self, asset: Asset) -> Path:
        """The model's own folder; it may not exist."""
        return self.folder / asset.id

    def is_installed(self, asset: Asset) -> bool:
        """Whether every file is here; their content is not checked."""
        record = self.record(asset)
        return all(self._place(asset, name, record)[0].is_file() for name in asset.files)

    def record(self, asset: Asset) -> dict[str, Entry]:
        """What was installed, by the names of the files in the catalogue; empty if nothing was."""
        return _read(self.home(asset) / RECORD)

    @contextmanager
    def locked(self, asset: Asset, waiting: Callable[[], None] = lambda: None) -> Iterator[Path]:
        """The model's folder, for one process at a time; `waiting` is called if another has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{asset.id}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            self.home(asset).mkdir(exist_ok=True)
            yield self.home(asset)

    def install(self, asset: Asset, name: str, new: Path, source_sha256: str, commit: str = "") -> Entry:
        """Move a complete and checked file into place, then record it. The model must be `locked`.

        Args:
            asset: the model.
            name: of the file in the catalogue.
            new: the file, in the model's folder; its last suffix is kept.
            source_sha256: of what it was made from.
            commit: of the hub's repository.
        """
        entry = Entry(
            f"{name}{new.suffix}",
            sha256_of(new),
            new.stat().st_size,
            source_of(asset.files[name]),
            source_sha256,
            commit,
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._put(asset, name, new, entry)
        return entry

    def link(self, asset: Asset, name: str, source_sha256: str) -> Entry | None:
        """Take over the same file from another installed model, if one has it; it then takes no room twice."""
        source = source_of(asset.files[name])
        for record in sorted(self.folder.glob(f"*/{RECORD}")):
            with suppress(WeightsError, OSError):
                for entry in _read(record).values():
                    if (entry.source, entry.source_sha256) == (source, source_sha256):
                        there = verified(record.parent / entry.file, entry.sha256)
                        self._put(asset, name, _linked(there, self.home(asset)), entry)
                        return entry
        return None

    def remove(self, asset: Asset) -> int:
        """Delete the model's folder; the bytes that were freed. Files that other models share stay with those."""
        with self.locked(asset) as home:
            found = [path.stat() for path in home.iterdir()]
            shutil.rmtree(home)
        return sum(stat.st_size for stat in found if stat.st_nlink == 1)

    def _put(self, asset: Asset, name: str, new: Path, entry: Entry) -> None:
        home, record = self.home(asset), self.record(asset)
        if name in record and record[name].file != entry.file:
            (home / record[name].file).unlink(missing_ok=True)
        new.replace(home / entry.file)
        new.unlink(missing_ok=True)  # renaming onto another link of the same file leaves both
        content = {key: asdict(value) for key, value in {**record, name: entry}.items()}
        temporary = home / f".{RECORD}"
        temporary.write_text(json.dumps({"files": content}, indent=1) + "\n", "utf-8")
        temporary.replace(home / RECORD)

    def _place(self, asset: Asset, name: str, record: Mapping[str, Entry]) -> tuple[Path, str | None]:
        """Where a file is or would be, and what it must hash to."""
        file, entry = asset.files[name], record.get(name)
        if file.bundled:
            return BUNDLED / file.bundled, file.sha256
        if file.path:
            return Path(file.path).expanduser(), file.sha256
        if entry is None or not entry.answers(file):
            return self.home(asset) / name, file.sha256
        return self.home(asset) / entry.file, entry.sha256


def how_to_install(asset: Asset) -> str:
    """What brings a model's files, in words: each command once."""
    return " ".join(dict.fromkeys(_how(asset, name) for name in asset.files))


def _how(asset: Asset, name: str) -> str:
    """What brings a missing file."""
    file = asset.files[name]
    if file.bundled:
        return "It is part of the project: its copy here is not whole."
    if file.path:
        return "The catalogue names it: put it there, or correct the row."
    if file.path is None:
        return f"`unmask models pull {asset.id}`."
    which = "" if name == "weights" else f" --file {name}"
    return f"`unmask models convert FILE --as {asset.architecture} --id {asset.id}{which}`."


def _read(path: Path) -> dict[str, Entry]:
    try:
        content = json.loads(path.read_text("utf-8"))
        return {str(name): Entry(**fields) for name, fields in content["files"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"the record {path} cannot be read: {error}.", "Remove and pull the model.") from error


def _linked(there: Path, home: Path) -> Path:
    """A second link of a file, or a copy where the file system has none."""
    here = home / f".new{there.suffix}"
    here.unlink(missing_ok=True)
    try:
        os.link(there, here)
    except OSError:
        shutil.copyfile(there, here)
    return here
