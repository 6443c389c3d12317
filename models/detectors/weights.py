"""Weights on disk: present, unaltered, and of exactly the keys and shapes of their network."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn


def verified(path: Path, sha256: str) -> Path:
    """The same path, once the file is there and has that hash; raises `WeightsError` otherwise."""
    found = sha256_of(path)
    if found != sha256:
        raise WeightsError(f"the weights {path} were altered: sha256 {found}.", f"It must be {sha256}.")
    return path


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal; raises `WeightsError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"the weights {path} cannot be read: {error.strerror}.") from error


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """All tensors of a safetensors file; raises `WeightsError` if it is none."""
    from safetensors import SafetensorError  # noqa: PLC0415 - loads torch, which readers of the catalogue do without
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}.") from error


def fill(net: "nn.Module", tensors: "Mapping[str, Tensor]", path: Path) -> None:
    """Give a network its weights, in single precision.

    Args:
        net: freshly built; every entry of its `state_dict()` must be among the tensors.
        tensors: any floating point precision. Integer tensors (the counters of batch norms) stay what they are.
        path: where they are from, for the error.

    Raises:
        WeightsError: a key is missing, unexpected, misshapen or not of floating point; the first such key is named.
    """
    wanted = net.state_dict()
    check_keys(tensors, {key: tuple(tensor.shape) for key, tensor in wanted.items()}, path)
    for key, tensor in tensors.items():
        if wanted[key].is_floating_point() and not tensor.is_floating_point():
            raise WeightsError(f"{path} has {key} as {tensor.dtype}.", "It must be floating point, not quantised.")
    net.load_state_dict({key: tensor.to(wanted[key].dtype) for key, tensor in tensors.items()})


def check_keys(found: "Mapping[str, Tensor]", wanted: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Raises `WeightsError` naming the first key that is missing, of another shape, or not wanted."""
    for key, shape in wanted.items():
        if key not in found:
            near = next((other for other in found if other not in wanted and _alike(other, key)), "")
            raise WeightsError(f"{path} lacks the key {key}.", f"It has {near} instead." if near else "")
        if tuple(found[key].shape) != shape:
            raise WeightsError(f"{path} has {key} as {tuple(found[key].shape)}.", f"It must be {shape}.")
    for key in found:
        if key not in wanted:
            raise WeightsError(f"{path} has the unexpected key {key}.")


def _alike(a: str, b: str) -> bool:
    """Whether two keys differ in one part only, as a renamed one does, or by a prefix such as `module.`."""
    if a.endswith(f".{b}") or b.endswith(f".{a}"):
        return True
    parts_a, parts_b = a.split("."), b.split(".")
    return len(parts_a) == len(parts_b) and sum(x != y for x, y in zip(parts_a, parts_b, strict=True)) == 1
