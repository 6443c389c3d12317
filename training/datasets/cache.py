"""Extracted views on disk, found by content: by what the file holds, what was asked of it and the code that did it."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.faces.tools import FaceTools
from models.media.limits import Limits
from models.types import Clip, View

EXTRACTION_VERSION = 1  # to be raised when models/media or models/faces come to cut other views out of the same file
STALE_S = 3600.0  # a file half written an hour ago belongs to a run that was killed: writing takes seconds
NO_TRACK = -1


@dataclass(frozen=True)  # without slots: the hashes of the tools are computed once and kept
class ViewCache:
    """A folder of views, one .npz each. Small, and sent to every worker.

    Attributes:
        folder: where.
        tools: what finds faces; another finder is another entry.
        limits: of decoding; another `working_side` is another entry.
    """

    folder: Path
    tools: FaceTools
    limits: Limits

    def key(self, sha256: str, view: View) -> str:
        """The name of an entry.

        Args:
            sha256: of the media's bytes, in hexadecimal.
            view: every field of it counts.
        """
        content = {**self._settings, "file": sha256, "view": asdict(view)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def path(self, sha256: str, view: View) -> Path:
        """Where an entry is, or would be."""
        key = self.key(sha256, view)
        return self.folder / key[:2] / f"{key}.npz"

    def lacking(self, sha256: str, views: Sequence[View]) -> tuple[View, ...]:
        """Those of the views that are not there."""
        return tuple(view for view in views if not self.path(sha256, view).is_file())

    def load(self, sha256: str, view: View) -> tuple[Clip, ...]:
        """The clips of an entry, as the `Extractor` gave them; raises FileNotFoundError if it is not there."""
        with np.load(self.path(sha256, view), allow_pickle=False) as stored:
            tracks = stored["tracks"].tolist()
            return tuple(
                Clip(stored[f"data_{i}"], stored[f"times_s_{i}"], None if track == NO_TRACK else track)
                for i, track in enumerate(tracks)
            )

    def why_empty(self, sha256: str, view: View) -> str:
        """Why an entry has no clip, in words; nothing if it has one."""
        with np.load(self.path(sha256, view), allow_pickle=False) as stored:
            return str(stored["why"])

    def save(self, sha256: str, view: View, clips: Sequence[Clip], why: str) -> None:
        """Write an entry. It appears whole or not at all: a name of this process's own is renamed at the end."""
        arrays: dict[str, NDArray[Any]] = {f"data_{i}": clip.data for i, clip in enumerate(clips)}
        arrays |= {f"times_s_{i}": clip.times_s for i, clip in enumerate(clips)}
        tracks = np.array([NO_TRACK if clip.track is None else clip.track for clip in clips], np.int64)
        path = self.path(sha256, view)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                np.savez(file, allow_pickle=False, tracks=tracks, why=np.array(why), **arrays)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what runs that were killed left half written."""
        for part in self.folder.glob("??/*.part"):
            with contextlib.suppress(FileNotFoundError):  # it was renamed just now
                if part.stat().st_mtime < time.time() - STALE_S:
                    part.unlink()

    @cached_property
    def _settings(self) -> dict[str, str | int]:
        return {
            "version": EXTRACTION_VERSION,
            "working_side": self.limits.working_side,
            "yunet": sha256_of(self.tools.yunet) if self.tools.yunet else "",
            "landmarks": sha256_of(self.tools.landmarks) if self.tools.landmarks else "",
        }


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
