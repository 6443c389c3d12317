"""SigLIP features of frames, read in order by a bidirectional LSTM: the video detectors V1, V3 and V4 of Drishtiksha.

`training.recipes` trains V1 and V3 with a compact encoder of face crops, from nothing.
Encoder: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023; the pooled output of its vision tower.
V1 and V3 are one network; V4 has heads of two layers. Which it is, and how large, is read from the checkpoint.
"""

import math
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.initialization import no_init_weights
from transformers.models.siglip import SiglipVisionConfig, SiglipVisionModel

from models.detectors.contract import Recipe, Rows, Saliency
from models.detectors.device import Device, to_float
from models.detectors.hf_files import configured, read_json, vision_part
from models.detectors.labels import fake_logits
from models.detectors.saliency import attentive, rollout
from models.detectors.weights import fill, read_tensors
from models.errors import CatalogueError, WeightsError
from models.types import ClipScore, View

# Attention heads by width, of every published SigLIP and SigLIP 2 (base, large, so400m, giant): the one size that no
# tensor's shape tells. Another width states its own, because a wrong number runs and scores wrongly.
ATTENTION_HEADS = {768: 12, 1024: 16, 1152: 16, 1536: 16}
WINDOW_FRAMES = 30  # what V3's route feeds the LSTM
WINDOWS = 50  # at most, as V3 draws its timeline
LEVEL = 0.5  # mean and standard deviation of SigLIP's pixels, in [0, 1]


class SiglipLstm(nn.Module):
    """The network, with the attribute names of the published checkpoints.

    Args:
        encoder: of the vision tower.
        lstm: its hidden size and number of layers, per direction.
        inner: width between the two layers of V4's heads; 0 for the single layer of V1 and V3.
    """

    def __init__(self, encoder: SiglipVisionConfig, lstm: tuple[int, int], inner: int) -> None:
        super().__init__()
        features, (hidden, layers) = encoder.hidden_size, lstm
        self.siglip_backbone = SiglipVisionModel(encoder)
        self.lstm = nn.LSTM(features, hidden, layers, batch_first=True, bidirectional=True)
        self.video_classifier = _head(2 * hidden, inner)
        self.image_classifier = _head(features, inner)  # in every checkpoint, trained in none published; never asked

    def describe(self, pixels: Tensor) -> Tensor:
        """`(N, 3, H, W)` float32 in [-1, 1] in, `(N, D)` pooled features out."""
        pooled: Tensor = self.siglip_backbone(pixels).pooler_output
        return pooled

    def judge(self, sequences: Tensor) -> Tensor:
        """`(N, L, D)` features of N stretches of L frames in, `(N, 1)` logits of fake out."""
        _, (last, _) = self.lstm(sequences)
        logits: Tensor = self.video_classifier(torch.cat((last[-2], last[-1]), dim=1))
        return logits


def _head(width: int, inner: int) -> nn.Module:
    if not inner:
        return nn.Linear(width, 1)
    return nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Dropout(0.5), nn.Linear(inner, 1))


class SiglipLstmDetector:
    """The detector `siglip_lstm`; satisfies `models.detectors.contract.Detector`."""

    def __init__(self, net: SiglipLstm, recipe: Recipe, window: int) -> None:
        self.view: View = recipe.view
        self._labels = recipe.labels
        self._window = window
        self._device = Device(recipe.device, recipe.precision)
        # A recurrence adds up what half precision rounds off, and is too small to be worth it.
        self._exact = Device(recipe.device)
        self._net = self._device.place(net)

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """Pooled features of frames or face crops: `(N, H, W, 3)` uint8 RGB in, `(N, D)` float32 out."""
        return self._device.encode(lambda rows: self._net.describe(to_float(rows, 1 / 255, LEVEL, LEVEL)), batch)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one clip: of the whole, and of windows that slide over the same features.

        A clip of fewer frames than the view's `count`, or than a window, is prolonged by its last frame, as the
        published system does. No frame is scored alone: no published checkpoint has that head trained.

        Args:
            features: `(T, D)` float32 from `encode`, T at least 1.
            times_s: `(T,)` presentation times in seconds.
        """
        steady = prolonged(features, self._window)
        ends = window_ends(len(steady), self._window)
        windows = steady[ends[:, None] + np.arange(1 - self._window, 1)]
        last = len(times_s) - 1
        return ClipScore(
            logit=self._logits(prolonged(features, self.view.count)[None])[0],
            per_window_logits=self._logits(windows),
            windows_s=tuple((float(times_s[e - self._window + 1]), float(times_s[min(e, last)])) for e in ends),
        )

    def saliency(self, rows: Rows) -> Saliency | None:
        """Attention rollout through the encoder and its pooling head, `(T, h, h)` of its patches."""
        encoder = self._twin
        with torch.no_grad():
            pixels = to_float(torch.tensor(rows, device=self._device.torch), 1 / 255, LEVEL, LEVEL)
            seen = encoder(pixels, output_attentions=True)
            probe = encoder.head.probe.expand(len(rows), -1, -1)
            _, pooling = encoder.head.attention(probe, seen.last_hidden_state, seen.last_hidden_state)
            return rollout(seen.attentions, pooling[:, 0])

    @cached_property
    def _twin(self) -> SiglipVisionModel:
        return attentive(self._net.siglip_backbone)

    def _logits(self, sequences: NDArray[np.float32]) -> tuple[float, ...]:
        return tuple(fake_logits(self._exact.encode(self._net.judge, sequences), self._labels).tolist())


def prolonged(features: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """`(T, D)` features, the last repeated until there are at least `length`."""
    return np.concatenate([features, np.repeat(features[-1:], max(0, length - len(features)), axis=0)])


def window_ends(frames: int, window: int) -> NDArray[np.intp]:
    """`(W,)` last frames of windows: evenly from the first that fits to the clip's last, each once, at most 50."""
    return np.unique(np.rint(np.linspace(window - 1, frames - 1, WINDOWS)).astype(np.intp))


def load(recipe: Recipe) -> SiglipLstmDetector:
    """Build the detector from its safetensors file.

    Files:
        weights: keys as published, with or without `module.` before them.
        config: optional; the `config.json` of the SigLIP the encoder was made from.

    Options:
        attention_heads: of the encoder, where its width is of no published SigLIP and there is no `config`.
        window_frames: length of the sliding windows.

    Raises:
        WeightsError: a file cannot be read, or a key is missing, unexpected or misshapen; the key is named.
        CatalogueError: an option, the labels or the view's size do not go with this network.
    """
    recipe.accept_options("attention_heads", "window_frames")
    if len(recipe.labels) != 1:
        raise CatalogueError(f"{recipe.id}: siglip_lstm has one output and {len(recipe.labels)} labels.")
    window = _count(recipe, "window_frames", WINDOW_FRAMES)
    tensors = {key.removeprefix("module."): tensor for key, tensor in read_tensors(recipe.weights).items()}
    sizes = _encoder(recipe, tensors), _lstm(tensors, recipe.weights), _inner(tensors, recipe.weights)
    with no_init_weights():  # seconds of drawing numbers that `fill` then replaces, every one
        net = SiglipLstm(*sizes)
    fill(net, tensors, recipe.weights)
    return SiglipLstmDetector(net, recipe, window)


def _encoder(recipe: Recipe, tensors: Mapping[str, Tensor]) -> SiglipVisionConfig:
    width, _, patch, _ = _shape(tensors, "siglip_backbone.embeddings.patch_embedding.weight", 4, recipe.weights)
    positions, _ = _shape(tensors, "siglip_backbone.embeddings.position_embedding.weight", 2, recipe.weights)
    # Some sizes are no multiple of the patch (so400m: 384 of 14): what is left over at the edge is not looked at.
    if (recipe.view.size // patch) ** 2 != positions:
        raise CatalogueError(
            f"{recipe.id}: its view has size {recipe.view.size}, its encoder {positions} patches of {patch} pixels.",
            f"The size must be {math.isqrt(positions) * patch}, or up to {patch - 1} more.",
        )
    if "config" in recipe.files:
        return _published_config(recipe, recipe.files["config"])
    inner, _ = _shape(tensors, "siglip_backbone.encoder.layers.0.mlp.fc1.weight", 2, recipe.weights)
    return SiglipVisionConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=_layers(tensors, r"siglip_backbone\.encoder\.layers\.(\d+)\."),
        num_attention_heads=_attention_heads(recipe, width),
        image_size=recipe.view.size,
        patch_size=patch,
    )


def _published_config(recipe: Recipe, path: Path) -> SiglipVisionConfig:
    if "attention_heads" in recipe.options:
        raise CatalogueError(f"{recipe.id}: attention_heads is an option, and its config says it too.", "Say it once.")
    config: SiglipVisionConfig = configured(SiglipVisionConfig, vision_part(read_json(path), path), path)
    if config.image_size != recipe.view.size:
        raise CatalogueError(
            f"{recipe.id}: its view has size {recipe.view.size}, its config {config.image_size}.", "Both must be one."
        )
    return config


def _attention_heads(recipe: Recipe, width: int) -> int:
    heads = _count(recipe, "attention_heads", ATTENTION_HEADS.get(width, 0))
    if not heads or width % heads:
        raise CatalogueError(
            f"{recipe.id}: an encoder of width {width} with {heads or 'unknown'} attention heads cannot be built.",
            "Give the option attention_heads, or the file config.",
        )
    return heads


def _lstm(tensors: Mapping[str, Tensor], path: Path) -> tuple[int, int]:
    _, hidden = _shape(tensors, "lstm.weight_hh_l0", 2, path)
    return hidden, _layers(tensors, r"lstm\.\w+_l(\d+)(?:_reverse)?$")


def _inner(tensors: Mapping[str, Tensor], path: Path) -> int:
    two_layers = any(re.match(r"\w+_classifier\.\d", key) for key in tensors)
    return _shape(tensors, "video_classifier.0.weight", 2, path)[0] if two_layers else 0


def _shape(tensors: Mapping[str, Tensor], key: str, axes: int, path: Path) -> tuple[int, ...]:
    if key not in tensors:
        raise WeightsError(f"{path} lacks the key {key}.")
    if tensors[key].ndim != axes:
        raise WeightsError(f"{path} has {key} as {tuple(tensors[key].shape)}.", f"It must have {axes} axes.")
    return tuple(tensors[key].shape)


def _layers(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the highest number in the keys: a gap below it is then refused by name."""
    return 1 + max((int(found[1]) for key in tensors if (found := re.match(pattern, key))), default=0)


def _count(recipe: Recipe, name: str, default: int) -> int:
    value: Any = recipe.options.get(name, default)
    if type(value) is not int or (name in recipe.options and value < 1):
        raise CatalogueError(f"{recipe.id}: {name} is {value!r}.", "It must be a whole number of at least 1.")
    return value
