"""What is known of files between runs: their hashes, and why some could not be extracted. Two JSONL files."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HASHES, FAILURES = "files.jsonl", "failures.jsonl"

# Failures that are in the bytes, so that trying again is waste. Limits may be raised, a decoder that was killed or too
# slow may get through on a quieter machine, and a file that could not be read may come back.
LASTING = frozenset({"empty_media", "unsupported_media", "truncated_media", "corrupt_media", "no_video_stream"})


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be extracted.

    Attributes:
        path: the file.
        sha256: of its bytes; empty if it could not be read.
        code: of the error, as in models/errors.py; or `unreadable`, `worker_died`, `unexpected`.
        detail: what was wrong, in words.
        keys: the cache entries that were wanted of it.
    """

    path: str
    sha256: str
    code: str
    detail: str
    keys: tuple[str, ...] = ()


class Ledger:
    """Hashes and failures of a cache folder. Lines are only ever added."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._hashes, self._failures = folder / HASHES, folder / FAILURES
        self._known = {line["path"]: line for line in _lines(self._hashes)}
        self._failed = {(f.sha256, key): f for f in map(_failure, _lines(self._failures)) for key in f.keys}

    def sha256(self, path: Path) -> str:
        """Of a file as it was hashed before; empty if it never was, or if size or time of change differ since then."""
        known = self._known.get(str(path.absolute()), {})
        return str(known["sha256"]) if known and known == {**known, **_stamp(path)} else ""

    def learn(self, path: Path, sha256: str) -> None:
        """Keep the hash of a file."""
        if sha256 and self.sha256(path) != sha256:
            line = {"path": str(path.absolute()), **_stamp(path), "sha256": sha256}
            self._known[line["path"]] = line
            _append(self._hashes, line)

    def fail(self, failure: Failure) -> None:
        """Keep a failure."""
        self._failed |= {(failure.sha256, key): failure for key in failure.keys}
        _append(self._failures, asdict(failure))

    def lasting_failure(self, sha256: str, keys: Sequence[str]) -> Failure | None:
        """Why one of these entries cannot be extracted, if that is known and in the bytes of the file."""
        failures = (self._failed.get((sha256, key)) for key in keys)
        return next((failure for failure in failures if failure and failure.code in LASTING), None)


def _stamp(path: Path) -> dict[str, int]:
    try:
        status = path.stat()
    except OSError:
        return {"size": -1, "mtime_ns": -1}
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _failure(line: dict[str, Any]) -> Failure:
    return Failure(line["path"], line["sha256"], line["code"], line["detail"], tuple(line["keys"]))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file, without one that a full disk cut short."""
    if path.is_file():
        for line in path.read_text("utf-8").split("\n"):
            if line.endswith("}"):
                yield json.loads(line)


def _append(path: Path, content: dict[str, Any]) -> None:
    """In one write, so that a run that is killed leaves no half line."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, (json.dumps(content) + "\n").encode())
    finally:
        os.close(descriptor)
