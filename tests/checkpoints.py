"""Checkpoints for tests: written in their published form, broken in the ways that must be refused, and published."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.detectors.contract import Detector, Recipe, Rows
from models.errors import WeightsError

PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "data" / "published"
Load = Callable[[Recipe], Any]


def published(name: str) -> Path:
    """A published file; the test is skipped where the development data is not beside the project."""
    if not (PUBLISHED / name).is_file():
        pytest.skip(f"the published file {name} is not in {PUBLISHED}")
    return PUBLISHED / name


def written(recipe: Recipe, tensors: Mapping[str, Tensor], folder: Path) -> Recipe:
    """The recipe with its weights in a new safetensors file."""
    path = folder / f"weights-{len(list(folder.iterdir()))}.safetensors"
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, path)
    return replace(recipe, files={**recipe.files, "weights": path})


def assert_strict(load: Load, recipe: Recipe, tensors: Mapping[str, Tensor], key: str, folder: Path) -> None:
    """A checkpoint loads as it is, and with `key` renamed, missing or misshapen it is refused by that name."""
    load(written(recipe, tensors, folder))
    renamed = {(name if name != key else f"{key}_renamed"): tensor for name, tensor in tensors.items()}
    missing = {name: tensor for name, tensor in tensors.items() if name != key}
    misshapen = {**tensors, key: torch.zeros([side + 1 for side in tensors[key].shape] or [2])}
    surplus = {**tensors, "left.over": torch.zeros(1)}
    for broken, name in ((renamed, key), (missing, key), (misshapen, key), (surplus, "left.over")):
        with pytest.raises(WeightsError, match=re.escape(name)):
            load(written(recipe, broken, folder))


def assert_batch_invariant(detector: Detector, rows: Rows, tolerance: float = 1e-5) -> None:
    """The clip made of `rows` scores the same p_fake whatever else is in its batches, and however they are cut."""
    times = np.arange(len(rows), dtype=np.float64)
    alone = np.concatenate([detector.encode(rows[i : i + 1]) for i in range(len(rows))])
    together = detector.encode(np.concatenate([rows[::-1], rows, rows]))[len(rows) : 2 * len(rows)]
    scores = [detector.decide(features, times) for features in (alone, together, detector.encode(rows))]
    p_fake = [1 / (1 + np.exp(-score.logit)) for score in scores]
    assert max(p_fake) - min(p_fake) <= tolerance


@torch.no_grad()
def plant_attention(net: torch.nn.Module, quarter: Tensor) -> None:
    """Make a vision transformer attend to some of its patches whatever the picture, and to nothing else.

    Args:
        net: with the names of transformers.
        quarter: `(P,)` bool, of the patches row by row, which are the last of its tokens.
    """
    for name, tensor in net.named_parameters():
        if not re.search(r"norm.*\.weight", name):
            tensor.zero_()
        if "position_embedding" in name:
            tensor.view(-1, tensor.shape[-1])[-len(quarter) :][quarter, 0] = 10.0
        if name.endswith("q_proj.bias"):
            tensor.fill_(4.0)
        if name.endswith("k_proj.weight"):
            tensor[:, 0] = 4.0
