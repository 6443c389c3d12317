"""Weights on disk: present, and unaltered."""

import hashlib
from pathlib import Path

from models.errors import WeightsError


def verified(path: Path, sha256: str) -> Path:
    """The same path, once the file is there and has that hash; raises `WeightsError` otherwise."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"the weights {path} cannot be read: {error.strerror}.") from error
    if found != sha256:
        raise WeightsError(f"the weights {path} were altered: sha256 {found}.", f"The catalogue expects {sha256}.")
    return path
