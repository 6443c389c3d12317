"""A linear head on the features of CLIP, per picture.

Two published systems, told apart by the keys of their files:

- UnivFD: Ojha, Li and Lee, "Towards Universal Fake Image Detectors that Generalize Across Generative Models", CVPR
  2023. CLIP as OpenAI trained it; the head sees the projected feature, not normalised. `weights` is the head alone,
  `encoder` the CLIP, in transformers' or OpenAI's names. One logit, of fake.
- GenD: Yermakov et al., "Deepfake Detection that Generalizes Across Benchmarks", WACV 2026. CLIP with tuned layer
  norms; the head sees the feature before projection, scaled to length 1. One file. Two logits, real and fake.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.detectors.clip_tower import (
    Tower,
    check_view,
    outputs_for,
    read_encoder,
    score_of_pictures,
    tower_for,
    without_text,
)
from models.detectors.contract import Recipe, Rows, Saliency
from models.detectors.device import Device
from models.detectors.weights import check_keys, read_tensors
from models.types import ClipScore

GEND_TOWER = "feature_extractor."
GEND_HEAD = "model.linear."


def projected(tower: Tower, pixels: Tensor) -> Tensor:
    """What UnivFD's head sees: `(N, H, W, 3)` uint8 RGB to `(N, projection_dim)`, OpenAI's `encode_image`."""
    return tower.project(tower(pixels))


def unit_length(tower: Tower, pixels: Tensor) -> Tensor:
    """What GenD's head sees: `(N, H, W, 3)` uint8 RGB to `(N, hidden_size)`, scaled in single precision."""
    return functional.normalize(tower(pixels).float(), dim=1)


class ClipLinear:
    """The detector; satisfies `models.detectors.contract.Detector`.

    Args:
        tower: with its weights.
        see: what the head sees of pictures, `(N, D)`.
        head: `weight` `(C, D)` and `bias` `(C,)`, C as many as the recipe's labels.
        recipe: of the catalogue row.
    """

    def __init__(
        self, tower: Tower, see: Callable[[Tower, Tensor], Tensor], head: Mapping[str, Tensor], recipe: Recipe
    ) -> None:
        check_view(recipe, tower)
        self.view = recipe.view
        self._labels = recipe.labels
        self._device = Device(recipe.device, recipe.precision)
        self._tower = self._device.place(tower)
        self._see = partial(see, self._tower)
        self._weight = head["weight"].double().numpy()
        self._bias = head["bias"].double().numpy()

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """`(N, H, W, 3)` uint8 RGB of the view's size to `(N, D)` float32; a row does not depend on its neighbours."""
        return self._device.encode(self._see, batch)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one clip from `(T, D)` features and `(T,)` seconds: a logit per picture, and their mean."""
        outputs = (features.astype(np.float64) @ self._weight.T + self._bias).astype(np.float32)
        return score_of_pictures(outputs, self._labels, times_s)

    def saliency(self, rows: Rows) -> Saliency | None:
        """Attention rollout, `(T, 16, 16)` for ViT-L/14."""
        return self._tower.rollout(torch.tensor(rows, device=self._device.torch))


def load(recipe: Recipe) -> ClipLinear:
    """Build the detector from its files: `weights`, for UnivFD `encoder`, and if there is one, the CLIP's `config`.

    Raises:
        WeightsError: a file cannot be read, a key is missing, unexpected or misshapen, or the labels are not settled.
        CatalogueError: the row has options, a view of another size than the network's, or lacks the encoder.
    """
    tensors = read_tensors(recipe.weights)
    if any(key.startswith((GEND_TOWER, GEND_HEAD)) for key in tensors):
        return _gend(recipe, without_text(tensors, GEND_TOWER))
    return _univfd(recipe, tensors)


def _gend(recipe: Recipe, tensors: Mapping[str, Tensor]) -> ClipLinear:
    tower = tower_for(tensors, recipe.weights, GEND_TOWER, recipe.files.get("config"))
    count = outputs_for(recipe)
    head = {f"{GEND_HEAD}weight": (count, tower.sizes.hidden_size), f"{GEND_HEAD}bias": (count,)}
    check_keys(tensors, tower.wanted | head, recipe.weights)
    own = {key.removeprefix(GEND_HEAD): tensors[key] for key in head}
    return ClipLinear(tower.take(tensors, recipe.weights), unit_length, own, recipe)


def _univfd(recipe: Recipe, head: Mapping[str, Tensor]) -> ClipLinear:
    tower = read_encoder(recipe)
    count = outputs_for(recipe)
    check_keys(head, {"weight": (count, tower.sizes.projection_dim), "bias": (count,)}, recipe.weights)
    return ClipLinear(tower, projected, head, recipe)
