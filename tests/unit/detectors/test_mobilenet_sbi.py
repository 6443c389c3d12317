import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.detectors.contract import Recipe
from models.detectors.mobilenet_sbi import MobileNetSbi, MobileNetV2, load, same_padding, trimmed_mean
from models.errors import CatalogueError, WeightsError
from models.types import View

VIEW = View(region="face", size=160, fit="squash", margin=0.3, count=16)


def random_state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {key: value.half() for key, value in MobileNetV2().state_dict().items()}


def written(folder: Path, state: dict[str, Tensor]) -> Recipe:
    path = folder / "weights.safetensors"
    save_file(state, path)
    return recipe(path)


def recipe(path: Path) -> Recipe:
    return Recipe("mobilenet", {"weights": path}, VIEW)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> MobileNetSbi:
    return load(written(tmp_path_factory.mktemp("weights"), random_state()))


def crops(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(5).integers(0, 256, (count, 160, 160, 3), np.uint8)


@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [(160, 2, (0, 1)), (5, 2, (1, 1)), (1, 2, (1, 1)), (160, 1, (1, 1)), (10, 2, (0, 1))],
)
def test_same_padding_is_after_only_on_even_sizes_at_stride_2(size: int, stride: int, padding: tuple[int, int]) -> None:
    assert same_padding(size, stride) == padding


def test_the_first_output_at_stride_2_looks_at_the_first_pixel_and_not_beyond_it() -> None:
    net = MobileNetV2()
    kernel = torch.zeros_like(net.stem.weight)
    kernel[:, :, 0, 0] = 1  # the corner of the kernel: on the first pixel if nothing is padded before
    net.stem.load_state_dict({"weight": kernel, "bias": torch.zeros(32)})
    picture = torch.zeros(1, 3, 8, 8)
    picture[0, 0, 0, 0] = 1
    assert net.stem(picture)[0, 0, 0, 0] == 1
    assert net.stem(picture).shape == (1, 32, 4, 4)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    state = random_state()
    del state["blocks.7.depthwise.bias"]
    with pytest.raises(WeightsError, match=r"lacks the key blocks\.7\.depthwise\.bias"):
        load(written(tmp_path, state))


def test_an_unexpected_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"unexpected key head\.scale"):
        load(written(tmp_path, random_state() | {"head.scale": torch.ones(1)}))


def test_a_misshapen_key_is_named_with_both_shapes(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"head\.weight as \(2, 1280\)\. It must be \(1, 1280\)"):
        load(written(tmp_path, random_state() | {"head.weight": torch.ones(2, 1280)}))


def test_weights_that_are_whole_numbers_are_refused(tmp_path: Path) -> None:
    quantised = {"head.weight": torch.ones(1, 1280, dtype=torch.int8)}
    with pytest.raises(WeightsError, match=r"head\.weight as torch\.int8"):
        load(written(tmp_path, random_state() | quantised))


@pytest.mark.parametrize("content", [b"", b"not safetensors"])
def test_a_file_that_is_no_safetensors_is_a_weights_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load(recipe(path))


def test_an_absent_file_is_a_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load(recipe(tmp_path / "absent.safetensors"))


@pytest.mark.parametrize("row", [{"options": {"trim": 0.1}}, {"labels": ("real",)}], ids=["option", "labels"])
def test_a_row_that_says_what_this_network_does_not_do_is_refused(row: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"mobilenet.*(option trim|labels are real)"):
        load(replace(written(tmp_path, random_state()), **row))


def test_a_row_scores_the_same_alone_and_among_others(detector: MobileNetSbi) -> None:
    batch = crops(7)
    together = detector.decide(detector.encode(batch), np.arange(7.0)).per_frame_logits
    alone = [detector.decide(detector.encode(batch[i : i + 1]), np.zeros(1)).logit for i in range(7)]
    assert np.allclose(together, alone, atol=1e-5)


def test_read_only_shared_memory_is_accepted_without_a_warning(detector: MobileNetSbi) -> None:
    batch = crops(2)
    batch.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = detector.encode(batch)
    assert features.shape == (2, 1280)
    assert features.dtype == np.float32


def test_no_rows_give_no_features(detector: MobileNetSbi) -> None:
    assert detector.encode(crops(0)).shape == (0, 1280)


def test_each_frame_keeps_its_time_and_its_logit(detector: MobileNetSbi) -> None:
    score = detector.decide(detector.encode(crops(3)), np.array([0.0, 0.5, 1.0]))
    assert score.times_s == (0.0, 0.5, 1.0)
    assert len(score.per_frame_logits) == 3
    assert min(score.per_frame_logits) <= score.logit <= max(score.per_frame_logits)


def test_one_bad_crop_of_sixteen_does_not_move_the_clip() -> None:
    values = np.ones(16, np.float32)
    values[4] = 1000
    assert trimmed_mean(values) == pytest.approx(1)
