import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.detectors.contract import Recipe
from models.detectors.convert import architecture_of, convert, suffix_for
from models.detectors.mobilenet_sbi import MobileNetV2
from models.errors import CatalogueError, WeightsError
from models.types import View
from tests.checkpoints import published

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}
KEYS = set(WEIGHTS)


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._mark),)


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def target(folder: Path) -> Path:
    return folder / "out.safetensors"


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net"])
def test_a_wrapper_is_taken_off_and_what_lay_beside_it_is_named(wrapper: str, tmp_path: Path) -> None:
    training = {wrapper: WEIGHTS, "optimizer_state_dict": {"state": {0: torch.ones(3)}}, "epoch": 3}
    done = convert(saved(training, tmp_path / "a.pth"), target(tmp_path))
    assert set(load_file(done.path)) == KEYS == set(done.keys)
    assert done.dropped == ("optimizer_state_dict", "epoch")


def test_the_prefix_of_training_on_several_devices_is_taken_off_where_all_keys_have_it(tmp_path: Path) -> None:
    parallel = {f"module.{key}": tensor for key, tensor in WEIGHTS.items()}
    assert set(convert(saved({"state_dict": parallel}, tmp_path / "a.pth"), target(tmp_path)).keys) == KEYS
    mixed = {**parallel, "head.bias": torch.ones(1)}
    assert set(convert(saved(mixed, tmp_path / "b.pth"), target(tmp_path)).keys) == set(mixed)


def test_values_shapes_and_precision_stay(tmp_path: Path) -> None:
    half = {**WEIGHTS, "half": torch.ones(3, dtype=torch.bfloat16), "count": torch.tensor(7)}
    found = load_file(convert(saved(half, tmp_path / "a.pt"), target(tmp_path)).path)
    assert all(torch.equal(found[key], tensor) and found[key].dtype == tensor.dtype for key, tensor in half.items())


def test_wrappers_inside_wrappers_are_taken_off(tmp_path: Path) -> None:
    done = convert(saved({"model": {"state_dict": WEIGHTS, "n": 1}}, tmp_path / "a.ckpt"), target(tmp_path))
    assert set(done.keys) == KEYS
    assert done.dropped == ("model.n",)


def test_keys_that_merely_begin_like_a_wrapper_stay(tmp_path: Path) -> None:
    done = convert(saved({"model.fc.weight": torch.ones(2), "version": "1"}, tmp_path / "a.bin"), target(tmp_path))
    assert done.keys == ("model.fc.weight",)
    assert done.dropped == ("version",)


def test_tied_weights_get_a_copy_each(tmp_path: Path) -> None:
    shared = torch.ones(3, 3)
    tied = {"in": shared, "out": shared, "row": shared[0]}
    found = load_file(convert(saved(tied, tmp_path / "a.pth"), target(tmp_path)).path)
    assert {key: tuple(tensor.shape) for key, tensor in found.items()} == {"in": (3, 3), "out": (3, 3), "row": (3,)}


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "bare pickle"])
def test_a_malicious_pickle_is_refused_by_name_and_not_run(legacy: bool, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "a.pth"
    content = {"state_dict": WEIGHTS, "args": Malicious(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=r"asks for posix\.mkdir, which is no tensor\. It was not run"):
        convert(path, target(tmp_path))
    assert not mark.exists()
    assert not target(tmp_path).exists()


def test_a_pickled_object_of_training_code_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
        convert(saved(torch.nn.Linear(2, 2), tmp_path / "a.pth"), target(tmp_path))


def test_a_plain_pickle_is_no_file_of_weights(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(pickle.dumps([1, 2], protocol=2))
    with pytest.raises(WeightsError, match=r"a\.pth is no file of PyTorch weights"):
        convert(tmp_path / "a.pth", target(tmp_path))


def test_torchscript_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:  # as torch.jit.save lays it out
        for name in ("a/constants.pkl", "a/code/__torch__.py", "a/data.pkl"):
            archive.writestr(name, b"")
    with pytest.raises(WeightsError, match=r"is TorchScript: .* torch\.save\(model\.state_dict\(\), FILE\)"):
        convert(path, target(tmp_path))


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04garbage", b"\x89HDF\r\n\x1a\ngarbage"])
def test_garbage_is_refused_by_the_files_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.pth"):
        convert(tmp_path / "a.pth", target(tmp_path))


def test_a_file_without_tensors_names_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no tensors\. It has: epoch, name"):
        convert(saved({"epoch": 1, "name": "x"}, tmp_path / "a.pth"), target(tmp_path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pth cannot be read: No such file"):
        convert(tmp_path / "gone.pth", target(tmp_path))


def hdf5(path: Path, group: str = "") -> Path:
    with h5py.File(path, "w") as file:
        file[f"{group}conv2d_1/conv2d_1/kernel:0"] = np.arange(8, dtype=">f4").reshape(2, 4)
        file[f"{group}conv2d_1/conv2d_1/bias:0"] = np.zeros(4, np.float16)
        file["optimizer_weights/Adam/iterations:0"] = np.int64(9)
        file[f"{group}names"] = np.array([b"a", b"b"])
    return path


@pytest.mark.parametrize("group", ["", "model_weights/"])
def test_hdf5_datasets_become_tensors_under_their_paths(group: str, tmp_path: Path) -> None:
    done = convert(hdf5(tmp_path / "a.h5", group), target(tmp_path))
    found = load_file(done.path)
    assert {key: tuple(tensor.shape) for key, tensor in found.items()} == {
        "conv2d_1/conv2d_1/kernel:0": (2, 4),
        "conv2d_1/conv2d_1/bias:0": (4,),
    }
    assert found["conv2d_1/conv2d_1/kernel:0"].flatten().tolist() == list(range(8))
    assert set(done.dropped) == {"optimizer_weights", "names"}


def test_hdf5_that_points_to_another_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("w", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
    with pytest.raises(WeightsError, match="w in another file"):
        convert(tmp_path / "a.h5", target(tmp_path))


def test_hdf5_links_to_other_files_are_not_followed(tmp_path: Path) -> None:
    hdf5(tmp_path / "other.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["model_weights"] = h5py.ExternalLink("other.h5", "/")
        file["w"] = np.ones(3, np.float32)
    assert convert(tmp_path / "a.h5", target(tmp_path)).keys == ("w",)


def test_hdf5_that_unpacks_to_far_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("w", (10**10,), "f4", chunks=(10**6,), compression="gzip")
    with pytest.raises(WeightsError, match="would unpack"):
        convert(tmp_path / "a.h5", target(tmp_path))


def test_hdf5_with_numbers_that_tensors_cannot_hold_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["w"] = h5py.Empty("f")
    with pytest.raises(WeightsError, match=r"a\.h5 cannot be read as HDF5"):
        convert(tmp_path / "a.h5", target(tmp_path))


def keras(path: Path, weights: bytes, *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("config.json", b'{"class_name": "Lambda"}')
        archive.writestr("../../escaped", b"x")
        archive.writestr("model.weights.h5", weights)
    return path


def test_of_a_keras_archive_only_the_weights_are_read(tmp_path: Path) -> None:
    inner = hdf5(tmp_path / "inner.h5").read_bytes()
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    done = convert(keras(folder / "a.keras", inner), target(folder))
    assert "conv2d_1/conv2d_1/kernel:0" in done.keys
    assert {"config.json", "../../escaped"} <= set(done.dropped)
    assert not (tmp_path / "escaped").exists()


def test_a_keras_archive_that_is_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = keras(tmp_path / "a.keras", bytes(50 * 2**20), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="would unpack"):
        convert(bomb, target(tmp_path))


def test_a_published_pickle_converts_whole(tmp_path: Path) -> None:
    path = published("AASIST-L.pth")
    done, original = convert(path, target(tmp_path)), torch.load(path, "cpu", weights_only=True)
    assert done.dropped == ()
    found = load_file(done.path)
    assert all(torch.equal(found.pop(key), tensor) for key, tensor in original.items())
    assert not found


@pytest.mark.parametrize("name", ["Meso4_DF.h5", "MesoInception_DF.h5"])
def test_published_hdf5_converts_whole(name: str, tmp_path: Path) -> None:
    done = convert(published(name), target(tmp_path))
    assert done.dropped == ()
    found = load_file(done.path)
    with h5py.File(published(name)) as original:
        layers = [
            f"{layer}/{weight.decode()}" for layer in original for weight in original[layer].attrs["weight_names"]
        ]
        assert all(np.array_equal(found.pop(key).numpy(), original[key]) for key in layers)
    assert not found


def test_what_architectures_read_as_published_is_copied(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    assert suffix_for(tmp_path / "a.onnx") == ".onnx"
    assert convert(tmp_path / "a.onnx", tmp_path / "b.onnx").path.read_bytes() == b"onnx"


def recipe(tensors: dict[str, torch.Tensor], folder: Path) -> Recipe:
    save_file(tensors, folder / "w.safetensors")
    return Recipe("toy", {"weights": folder / "w.safetensors"}, View("face", 160))


def test_a_file_that_fits_its_architecture_passes(tmp_path: Path) -> None:
    architecture_of("mobilenet_sbi")(recipe(MobileNetV2().state_dict(), tmp_path))


def test_a_file_of_another_architecture_is_refused_by_a_key(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"lacks the key stem\.weight"):
        architecture_of("mobilenet_sbi")(recipe(WEIGHTS, tmp_path))


@pytest.mark.parametrize("name", ["nope", "store", "os.path", "../x", ""])
def test_what_is_no_architecture_is_refused(name: str) -> None:
    with pytest.raises(CatalogueError, match="there is no architecture"):
        architecture_of(name)
