"""MesoNet against its published definition, written here once more in plain numpy, in double precision."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from models.detectors.contract import Recipe
from models.detectors.labels import logit_of_mean
from models.detectors.mesonet import Meso, load
from models.errors import CatalogueError, WeightsError
from models.types import View
from tests.checkpoints import assert_batch_invariant, assert_strict, published, written

Array = NDArray[np.float64]
Arrays = dict[str, NDArray[np.float32]]

RECIPE = Recipe("mesonet", {}, View(region="face", size=256, margin=0.125, count=30), labels=("real",))
FILES = ("Meso4_DF", "Meso4_F2F", "MesoInception_DF", "MesoInception_F2F")
# Kernel size, channels in, channels out of every convolution in the order Keras made them.
MESO4 = ((3, 3, 8), (5, 8, 8), (5, 8, 16), (5, 16, 16))
INCEPTION4 = (
    *((1, 3, 1), (1, 3, 4), (3, 4, 4), (1, 3, 4), (3, 4, 4), (1, 3, 2), (3, 2, 2)),
    *((1, 11, 2), (1, 11, 4), (3, 4, 4), (1, 11, 4), (3, 4, 4), (1, 11, 2), (3, 2, 2)),
    *((5, 12, 16), (5, 16, 16)),
)
WIDTHS = {MESO4: (8, 8, 16, 16), INCEPTION4: (11, 12, 16, 16)}


def random_arrays(convolutions: tuple[tuple[int, int, int], ...], first: int, seed: int = 7) -> Arrays:
    """A checkpoint as Keras names it; `first` is the number its session had reached."""
    generator = np.random.default_rng(seed)
    arrays: Arrays = {}

    def add(layer: str, name: str, shape: tuple[int, ...], at: float, spread: float) -> None:
        arrays[f"{layer}/{layer}/{name}:0"] = generator.uniform(at - spread, at + spread, shape).astype(np.float32)

    for number, (side, inward, outward) in enumerate(convolutions, first):
        add(f"conv2d_{number}", "kernel", (side, side, inward, outward), 0, (6 / (side * side * inward)) ** 0.5)
        add(f"conv2d_{number}", "bias", (outward,), 0, 0.2)
    for number, width in enumerate(WIDTHS[convolutions], first):
        for name, at, spread in (("gamma", 1, 0.4), ("beta", 0, 0.3), ("moving_mean", 0.3, 0.3)):
            add(f"batch_normalization_{number}", name, (width,), at, spread)
        add(f"batch_normalization_{number}", "moving_variance", (width,), 0.5, 0.498)
    for number, shape in enumerate(((1024, 16), (16, 1)), first):
        add(f"dense_{number}", "kernel", shape, 0, (6 / shape[0]) ** 0.5)
        add(f"dense_{number}", "bias", shape[1:], 0, 0.2)
    return arrays


def published_arrays(name: str) -> Arrays:
    """Every dataset of a published file by its path."""
    arrays: Arrays = {}
    with h5py.File(published(f"{name}.h5"), "r") as file:
        file.visititems(lambda path, it: arrays.update({path: it[()]}) if isinstance(it, h5py.Dataset) else None)
    return arrays


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def pictures(count: int) -> NDArray[np.uint8]:
    """Smooth blobs with grain, `(count, 256, 256, 3)`: closer to skin than noise is."""
    generator = np.random.default_rng(11)
    coarse = np.kron(generator.uniform(30, 220, (count, 8, 8, 3)), np.ones((1, 32, 32, 1)))
    return np.clip(coarse + generator.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8)


def convolved(x: Array, kernel: Array, bias: Array, dilation: int = 1) -> Array:
    """Keras' `Conv2D(padding="same", activation="relu")` at stride 1, on `(H, W, C)`."""
    reach = dilation * (kernel.shape[0] - 1)
    padded = np.pad(x, ((reach // 2, reach - reach // 2),) * 2 + ((0, 0),))
    windows = sliding_window_view(padded, (reach + 1, reach + 1), axis=(0, 1))[..., ::dilation, ::dilation]
    filtered: Array = np.einsum("hwcij,ijco->hwo", windows, kernel, optimize=True) + bias
    return np.maximum(filtered, 0)


def normalised(x: Array, gamma: Array, beta: Array, mean: Array, variance: Array) -> Array:
    return gamma * (x - mean) / np.sqrt(variance + 0.001) + beta


def pooled(x: Array, side: int) -> Array:
    height, width, channels = x.shape
    largest: Array = x.reshape(height // side, side, width // side, side, channels).max(axis=(1, 3))
    return largest


class Keras:
    """The layers of one file, each used once, in the order they were made."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = {key: array.astype(np.float64) for key, array in arrays.items()}
        self._next: dict[str, int] = {}
        for key in arrays:
            kind, number = key.split("/")[0].rsplit("_", 1)
            self._next[kind] = min(int(number), self._next.get(kind, int(number)))
        self.is_inception = sum(key.endswith("kernel:0") for key in arrays) == 18

    def take(self, kind: str, *names: str) -> list[Array]:
        layer = f"{kind}_{self._next[kind]}"
        self._next[kind] += 1
        return [self._arrays[f"{layer}/{layer}/{name}:0"] for name in names]

    def conv(self, x: Array, dilation: int = 1) -> Array:
        kernel, bias = self.take("conv2d", "kernel", "bias")
        return convolved(x, kernel, bias, dilation)

    def inception(self, x: Array) -> Array:
        plain = self.conv(x)
        return np.concatenate([plain, *(self.conv(self.conv(x), dilation) for dilation in (1, 2, 3))], axis=-1)

    def norm(self, x: Array) -> Array:
        return normalised(x, *self.take("batch_normalization", "gamma", "beta", "moving_mean", "moving_variance"))

    def dense(self, x: Array) -> Array:
        kernel, bias = self.take("dense", "kernel", "bias")
        return x @ kernel + bias

    def logit(self, picture: NDArray[np.uint8]) -> float:
        """The published network on one picture, up to the sigmoid: the logit of "real"."""
        x = picture / 255
        for stage, pool in enumerate((2, 2, 2, 4)):
            x = self.inception(x) if self.is_inception and stage < 2 else self.conv(x)
            x = pooled(self.norm(x), pool)
        hidden = self.dense(x.reshape(-1))
        return float(self.dense(np.where(hidden > 0, hidden, 0.1 * hidden))[0])


def assert_as_published(arrays: Arrays, folder: Path) -> None:
    shown = pictures(3)
    expected = np.array([Keras(arrays).logit(picture) for picture in shown])
    logits = load(written(RECIPE, tensors(arrays), folder)).encode(shown)[:, 0].astype(np.float64)
    assert np.ptp(expected) > 1e-3  # the pictures do differ to it
    assert 1 / (1 + np.exp(-logits)) == pytest.approx(1 / (1 + np.exp(-expected)), abs=1e-5)
    assert logits == pytest.approx(expected, abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_published_weights_give_what_the_published_definition_gives(name: str, tmp_path: Path) -> None:
    assert_as_published(published_arrays(name), tmp_path)


@pytest.mark.parametrize(("convolutions", "first"), [(MESO4, 1), (MESO4, 5), (INCEPTION4, 1), (INCEPTION4, 17)])
def test_random_weights_of_the_published_form_give_what_the_definition_gives(
    convolutions: tuple[tuple[int, int, int], ...], first: int, tmp_path: Path
) -> None:
    assert_as_published(random_arrays(convolutions, first), tmp_path)


@pytest.mark.parametrize(
    ("convolutions", "key"),
    [
        (MESO4, "conv2d_5/conv2d_5/kernel:0"),
        (MESO4, "batch_normalization_8/batch_normalization_8/moving_variance:0"),
        (INCEPTION4, "conv2d_5/conv2d_5/bias:0"),
        (INCEPTION4, "dense_6/dense_6/kernel:0"),
    ],
)
def test_a_key_renamed_missing_misshapen_or_left_over_is_refused_by_its_keras_name(
    convolutions: tuple[tuple[int, int, int], ...], key: str, tmp_path: Path
) -> None:
    assert_strict(load, RECIPE, tensors(random_arrays(convolutions, 5)), key, tmp_path)


def test_a_whole_missing_layer_is_refused(tmp_path: Path) -> None:
    arrays = {key: array for key, array in random_arrays(MESO4, 5).items() if not key.startswith("conv2d_7/")}
    with pytest.raises(WeightsError, match="lacks the key conv2d_7/conv2d_7/kernel:0"):
        load(written(RECIPE, tensors(arrays), tmp_path))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Meso:
    return load(written(RECIPE, tensors(random_arrays(INCEPTION4, 1)), tmp_path_factory.mktemp("meso")))


def test_a_clip_scores_the_same_in_every_batch(detector: Meso) -> None:
    assert_batch_invariant(detector, pictures(4))


def test_the_output_is_of_real_so_the_frames_logits_are_turned(detector: Meso) -> None:
    features = np.array([[2.0], [-1.0]], np.float32)
    assert detector.decide(features, np.array([0.0, 0.5])).per_frame_logits == (-2.0, 1.0)


def test_a_clip_is_the_mean_of_its_frames_probabilities(detector: Meso) -> None:
    p_real = np.array([0.9, 0.2, 0.4])
    score = detector.decide(np.log(p_real / (1 - p_real)).astype(np.float32)[:, None], np.arange(3.0))
    assert 1 / (1 + np.exp(-score.logit)) == pytest.approx(1 - p_real.mean(), abs=1e-6)


def test_the_mean_of_probabilities_that_round_to_one_keeps_its_logit() -> None:
    assert logit_of_mean(np.array([60.0, 60.0])) == pytest.approx(60)


def test_a_row_without_the_label_of_the_output_is_refused(tmp_path: Path) -> None:
    recipe = replace(RECIPE, labels=())
    with pytest.raises(WeightsError, match="1 outputs and 0 labels"):
        load(written(recipe, tensors(random_arrays(MESO4, 1)), tmp_path))


def test_an_option_is_refused_by_name(tmp_path: Path) -> None:
    recipe = replace(RECIPE, options={"variant": "meso4"})
    with pytest.raises(CatalogueError, match="no option variant"):
        load(written(recipe, tensors(random_arrays(MESO4, 1)), tmp_path))


def test_a_view_of_another_size_is_refused(tmp_path: Path) -> None:
    recipe = replace(RECIPE, view=View(region="face", size=224))
    with pytest.raises(CatalogueError, match="size 224"):
        load(written(recipe, tensors(random_arrays(MESO4, 1)), tmp_path))


def test_a_map_turns_around_with_the_label(tmp_path: Path) -> None:
    recipe = written(RECIPE, tensors(random_arrays(MESO4, 1)), tmp_path)
    maps = [load(replace(recipe, labels=(label,))).saliency(pictures(2)).maps for label in ("real", "fake")]
    assert [found.shape for found in maps] == [(2, 32, 32)] * 2
    assert not np.any((maps[0] > 0) & (maps[1] > 0))
    assert np.any(maps[0] > 0) or np.any(maps[1] > 0)
