"""D3: a picture against its own patches in another order, on CLIP.

Yang, Qian, Zhu, Russakovsky and Wu, "D3: Scaling Up Deepfake Detection by Learning from Discrepancy", CVPR 2025. What
a generator leaves behind survives shuffling, what the picture shows does not; attention between the two features of a
picture finds the difference.

The published system draws a new order in every call, so the same picture scores differently each time. Here the order
is one for ever, `patch_order`. That of the 256 patches CLIP ViT-L/14 sees, written "245,178,55,...", has the SHA-256
3dfb1f57e30dc557df67ef8536c1e18a4e66a2202fb15b4b939509e9d681c701.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.detectors.clip_tower import (
    Tower,
    check_view,
    outputs_for,
    read_encoder,
    score_of_pictures,
    tower_for,
    without_text,
)
from models.detectors.contract import Recipe, Rows
from models.detectors.device import Device
from models.detectors.weights import check_keys, fill, read_tensors
from models.errors import WeightsError
from models.types import ClipScore

# A published key of the head: wrappers of the whole network, the network's name of the head, the part of the head.
HEAD_KEY = re.compile(r"((?:module\.|model\.)*)((?:attention_head\.)?)(?:query|key|value|fc)\.(?:weight|bias)")


def patch_order(count: int) -> tuple[int, ...]:
    """Which patch goes where: place `i` of the shuffled picture shows patch `order[i]` of the picture, row by row.

    Sorted by the SHA-256 of the patch's number in decimal, so that no version of any random generator can change it.
    """
    return tuple(sorted(range(count), key=lambda i: hashlib.sha256(str(i).encode()).digest()))


def shuffled(pixels: Tensor, patch: int, order: Tensor) -> Tensor:
    """Pictures with their patches moved.

    Args:
        pixels: `(N, S, S, 3)`, S a multiple of `patch`.
        patch: side of a patch in pixels.
        order: `(S / patch) ** 2` numbers of patches, as `patch_order` gives them.
    """
    count, side = len(pixels), pixels.shape[1] // patch
    patches = (
        pixels.reshape(count, side, patch, side, patch, 3).transpose(2, 3).reshape(count, side * side, patch, patch, 3)
    )
    moved = patches[:, order].reshape(count, side, side, patch, patch, 3)
    return moved.transpose(2, 3).reshape(pixels.shape)


class AttentionHead(nn.Module):
    """Attention between the two features of a picture, then a linear layer on both.

    Args:
        width: of a feature.
        outputs: logits per picture.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.fc = nn.Linear(2 * width, outputs)

    def forward(self, pair: Tensor) -> Tensor:
        """`(N, 2, width)`, the shuffled picture first, to `(N, outputs)`."""
        scores = self.query(pair) @ self.key(pair).transpose(1, 2) / pair.shape[2] ** 0.5
        # Over the queries, not the keys as elsewhere: the published head was trained so.
        attended = torch.softmax(scores, dim=1) @ self.value(pair)
        logits: Tensor = self.fc(attended.flatten(1))
        return logits


class D3Net(nn.Module):
    """Pictures to logits: the tower sees each twice."""

    order: Tensor

    def __init__(self, tower: Tower, head: AttentionHead) -> None:
        super().__init__()
        self.tower = tower
        self.head = head
        patches = (tower.sizes.image_size // tower.sizes.patch_size) ** 2
        self.register_buffer("order", torch.tensor(patch_order(patches)), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """`(N, H, W, 3)` uint8 RGB to `(N, outputs)`."""
        both = torch.stack([shuffled(pixels, self.tower.sizes.patch_size, self.order), pixels], dim=1)
        pair = self.tower(both.flatten(0, 1)).unflatten(0, (len(pixels), 2))
        logits: Tensor = self.head(pair)
        return logits


class D3Clip:
    """The detector; satisfies `models.detectors.contract.Detector`."""

    def __init__(self, net: D3Net, recipe: Recipe) -> None:
        check_view(recipe, net.tower)
        self.view = recipe.view
        self._labels = recipe.labels
        self._device = Device(recipe.device, recipe.precision)
        self._net = self._device.place(net)

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """`(N, H, W, 3)` uint8 RGB of the view's size to `(N, C)` float32 outputs; a row depends on itself alone."""
        return self._device.encode(self._net, batch)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one clip from `(T, C)` outputs and `(T,)` seconds: a logit per picture, and their mean."""
        return score_of_pictures(features, self._labels, times_s)


def load(recipe: Recipe) -> D3Clip:
    """Build the detector from its files: `weights`, `encoder` unless those hold the CLIP, and its `config` if any.

    Keys of the head may be bare (`query.weight`) or under `attention_head.`; a CLIP in the same file is under
    `model.`; all may be under `module.` or `model.`. A CLIP in the same file goes before the `encoder`: it is what the
    head was trained on.

    Raises:
        WeightsError: a file cannot be read, a key is missing, unexpected or misshapen, or the labels are not settled.
        CatalogueError: the row has options, a view of another size than the network's, or lacks the encoder.
    """
    path = recipe.weights
    tensors = read_tensors(path)
    wrappers, own_name = _prefixes(tensors, path)
    inner = f"{wrappers}model."
    tensors = without_text(tensors, inner)
    is_whole = any(key.startswith(inner) for key in tensors)
    tower = tower_for(tensors, path, inner, recipe.files.get("config")) if is_whole else read_encoder(recipe)
    head = AttentionHead(tower.sizes.hidden_size, outputs_for(recipe))
    names = {f"{wrappers}{own_name}{key}": key for key in head.state_dict()}
    shapes = {name: tuple(head.state_dict()[key].shape) for name, key in names.items()}
    check_keys(tensors, shapes | (tower.wanted if is_whole else {}), path)
    fill(head, {key: tensors[name] for name, key in names.items()}, path)
    return D3Clip(D3Net(tower.take(tensors, path) if is_whole else tower, head), recipe)


def _prefixes(tensors: Mapping[str, Tensor], path: Path) -> tuple[str, str]:
    """What wraps every key, and what the head is called inside it."""
    for found in map(HEAD_KEY.fullmatch, tensors):
        if found:
            return found[1], found[2]
    raise WeightsError(f"{path} lacks the key query.weight.", "Or it is under attention_head., module. or model.")
