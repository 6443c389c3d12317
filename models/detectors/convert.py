"""Published weights to safetensors, offline: pickles of PyTorch, HDF5 files of Keras, archives of Keras.

Nothing of a file is ever run. Pickles are read with PyTorch's `weights_only`, which knows tensors and plain containers
and refuses every other name; of an archive the one member with the weights is read; HDF5 files may not point elsewhere.
"""

import importlib
import importlib.util
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # the error's name alone
from typing import IO, Any, cast

import h5py
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from models.detectors.contract import Recipe
from models.detectors.weights import read_tensors
from models.errors import CatalogueError, WeightsError

KEPT = frozenset({".onnx", ".json", ".txt", ".dat"})  # what architectures read as published
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "model_weights")  # the last is Keras 2's
KERAS_MEMBER = "model.weights.h5"
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
READABLE = "Accepted: what torch.save, safetensors or Keras wrote of the tensors of a network."
EXPANSION = 16  # weights hardly compress: a file that claims to unpack to more than this is no set of weights


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of a file.

    Attributes:
        path: of the new file.
        keys: of its tensors; none if it was only copied.
        dropped: what was not a tensor of the network, by name.
    """

    path: Path
    keys: tuple[str, ...]
    dropped: tuple[str, ...] = ()


def convert(source: Path, target: Path) -> Converted:
    """Write the tensors of a published file as safetensors, under their own keys; copy what is `KEPT`.

    Raises:
        WeightsError: the file is of no kind that is read, asks to run something, or holds no tensors.
    """
    if source.suffix in KEPT:
        return Converted(Path(shutil.copyfile(source, target)), ())
    tensors, dropped = _read(source)
    if not tensors:
        raise WeightsError(f"{source} holds no tensors.", f"It has: {', '.join(dropped) or 'nothing'}.")
    try:
        save_file(tensors, target, {"format": "pt"})
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        target.unlink(missing_ok=True)
        raise WeightsError(f"{target} cannot be written: {error}.") from error
    return Converted(target, tuple(tensors), tuple(dropped))


def suffix_for(source: Path) -> str:
    """Of what `convert` makes of a file."""
    return source.suffix if source.suffix in KEPT else ".safetensors"


def architecture_of(architecture: str) -> Callable[[Recipe], object]:
    """The `load` of an architecture, which proves that files fit it; raises `CatalogueError` if there is none."""
    name = f"models.detectors.{architecture}"
    known = re.fullmatch(r"[a-z][a-z0-9_]*", architecture) and importlib.util.find_spec(name)
    load = getattr(importlib.import_module(name), "load", None) if known else None
    if load is None:
        raise CatalogueError(f"there is no architecture {architecture!r}.", "`unmask models list --json` names them.")
    return cast("Callable[[Recipe], object]", load)


def _read(source: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by key, and the names of what was left out."""
    if source.suffix == ".safetensors":
        return read_tensors(source), []
    try:
        with source.open("rb") as file:
            start = file.read(len(HDF5_SIGNATURE))
            file.seek(0)
            if start == HDF5_SIGNATURE:
                return _from_hdf5(file, source)
            members = _members(file, source) if start.startswith(ZIP_SIGNATURE) else []
            if KERAS_MEMBER in members:
                return _from_keras(file, source)
            if any(name.endswith("/constants.pkl") for name in members):
                raise WeightsError(
                    f"{source} is TorchScript: a program, which is not run here.",
                    "Save the state_dict of the model it was made from: torch.save(model.state_dict(), FILE).",
                )
            return _from_pickle(source)
    except OSError as error:
        raise WeightsError(f"{source} cannot be read: {error.strerror or error}.") from error


def _members(file: IO[bytes], source: Path) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            found = archive.infolist()
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{source} is a damaged archive: {error}.") from error
    for member in found:
        _bound(member.file_size, member.compress_size, source)
    return [member.filename for member in found]


def _bound(claimed: int, stored: int, source: Path) -> None:
    if claimed > EXPANSION * stored + 2**20:
        raise WeightsError(f"{source} would unpack {stored} bytes to {claimed}: those are no weights.")


def _from_pickle(source: Path) -> tuple[dict[str, Tensor], list[str]]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickle protocols that PyTorch reads all the same
            content = torch.load(source, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise _refused(source, str(error)) from error
    except (RuntimeError, ValueError, EOFError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise WeightsError(
            f"{source} is no file of PyTorch weights: {str(error)[:200] or type(error).__name__}.", READABLE
        ) from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{source} holds a {type(content).__name__}.", "A dict of tensors is needed.")
    tensors, dropped = _unwrapped(content)
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise WeightsError(f"{source} has {key} in a form that safetensors lacks: {tensor.layout}, {tensor.dtype}.")
    # Tied weights share memory, which safetensors refuses: each gets its own.
    return {key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}, dropped


def _refused(source: Path, message: str) -> WeightsError:
    """What PyTorch refused, from its message."""
    if named := re.search(r"(?:GLOBAL|class) ([\w.]+)", message):
        return WeightsError(
            f"{source} asks for {named[1]}, which is no tensor. It was not run.",
            "Where you trust the file, save its tensors alone: torch.save(model.state_dict(), FILE).",
        )
    detail = re.search(r"error:\s+(.+)", message)
    return WeightsError(f"{source} is no file of PyTorch weights: {detail[1] if detail else message[:80]}.", READABLE)


def _bare(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys without the `module.` that training on several devices puts before all of them."""
    if all(key.startswith("module.") for key in tensors):
        return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    return tensors


def _unwrapped(content: Mapping[Any, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """The dict of tensors inside wrappers, and the names of all that lay beside the tensors."""
    wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
    if wrapper is not None:
        tensors, dropped = _unwrapped(content[wrapper])
        if tensors:
            return tensors, [*(str(key) for key in content if key != wrapper), *(f"{wrapper}.{key}" for key in dropped)]
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    return _bare(tensors), [str(key) for key in content if key not in tensors]


def _from_keras(file: IO[bytes], source: Path) -> tuple[dict[str, Tensor], list[str]]:
    # `_members` has bounded what the member unpacks to; zipfile reads no byte more than it claims.
    try:
        with zipfile.ZipFile(file) as archive, archive.open(KERAS_MEMBER) as member, tempfile.TemporaryFile() as inner:
            shutil.copyfileobj(member, inner)
            inner.seek(0)
            tensors, dropped = _from_hdf5(inner, source)
            return tensors, [*(name for name in archive.namelist() if name != KERAS_MEMBER), *dropped]
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise WeightsError(f"{source} is a damaged archive: {error}.") from error


def _from_hdf5(file: IO[bytes], source: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Datasets by their path, joined by `/`."""
    try:
        with closing(h5py.File(file, "r")) as content:
            own = isinstance(content.get("model_weights", getlink=True), h5py.HardLink)
            root = content["model_weights"] if own else content
            dropped = [name for name in content if name.lstrip("_").startswith("optimizer") or root is not content]
            tensors = {}
            for name, dataset in _datasets(root, source):
                if name.lstrip("_").startswith("optimizer") or dataset.dtype.kind not in "fiu":
                    dropped += [] if name.split("/")[0] in dropped else [name]
                else:
                    values = np.asarray(dataset[()])
                    tensors[name] = torch.from_numpy(values.astype(values.dtype.newbyteorder("=")).copy())
    except (OSError, RuntimeError, KeyError, TypeError) as error:  # the last of numbers that torch has no type for
        raise WeightsError(f"{source} cannot be read as HDF5: {error}.") from error
    return tensors, [name for name in dropped if name != "model_weights"]


def _datasets(root: Any, source: Path) -> Iterator[tuple[str, Any]]:
    """Every dataset that lies in the file itself. Links to other files are not followed by `visititems`."""
    found: list[tuple[str, Any]] = []
    root.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
    for name, dataset in found:
        if dataset.is_virtual or dataset.external:
            raise WeightsError(f"{source} has {name} in another file, which is not followed.")
        _bound(dataset.nbytes, dataset.id.get_storage_size(), source)
    return iter(found)
