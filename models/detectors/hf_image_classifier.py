"""Any picture classifier of the transformers library, from the files of its public repository.

ViT, Swin, SigLIP, ConvNeXt, BEiT, DINOv2 and whatever else `AutoModelForImageClassification` builds without code from
elsewhere. Which output is fake is read from `id2label`; how pixels are normalised, from `preprocessor_config.json`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    AutoModelForImageClassification,
)

from models.detectors.contract import Recipe, Rows, Saliency
from models.detectors.device import Device, to_float
from models.detectors.hf_files import built, read_config, read_json
from models.detectors.labels import established, fake_logits
from models.detectors.saliency import attentive, first_token, mean_of_patches, rollout
from models.detectors.weights import check_keys, fill, read_tensors
from models.errors import CatalogueError, WeightsError
from models.types import Class, ClipScore, Fit, Resample, View

RESAMPLE: dict[int, Resample] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's codes
# What `size` means depends on the class of image processor. These stretch a picture into a square of that side,
SQUASHING = {"ViT", "Siglip", "Beit", "Segformer"}
# these scale its shorter side to it, and cut `crop_size` out of the centre,
CROPPING = {"CLIP", "Bit"}
# and this one stretches from that side on; below it, it cuts away an eighth, which no view does.
CONVNEXT, CONVNEXT_SQUASHES_FROM = "ConvNext", 384
PROCESSOR = re.compile(r"(\w+?)(?:ImageProcessor|FeatureExtractor)(?:Fast|Pil)?")
# Steps that are done here or by the extractor. Any other would be left out without a word.
STEPS = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"}
Readout = Callable[[int, torch.device], Tensor]  # see `models.detectors.saliency.rollout`
RESCALE = 1 / 255  # of files that are older than `rescale_factor`


@dataclass(frozen=True, slots=True)
class Normalisation:
    """`(pixels * scale - mean) / std`; mean and std are `(3,)`, of RGB."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


class HfImageClassifier:
    """The detector `hf_image_classifier`; satisfies `models.detectors.contract.Detector`."""

    def __init__(self, net: Any, labels: tuple[Class, ...], pixels: Normalisation, recipe: Recipe) -> None:
        self.view: View = recipe.view
        self._labels = labels
        self._device = Device(recipe.device, recipe.precision)
        self._net = self._device.place(net)
        self._scale = pixels.scale
        self._mean, self._std = (
            torch.tensor(values, device=self._device.torch).view(3, 1, 1) for values in (pixels.mean, pixels.std)
        )

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """Logits of frames or face crops: `(N, H, W, 3)` uint8 RGB in, `(N, C)` float32 out, in the order of labels."""
        return self._device.encode(self._forward, batch)

    def _forward(self, rows: Tensor) -> Tensor:
        logits: Tensor = self._net(to_float(rows, self._scale, self._mean, self._std)).logits
        return logits

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one clip: the plain mean of its frames, because these networks were trained on single pictures.

        Args:
            features: `(T, C)` float32 from `encode`, T at least 1.
            times_s: `(T,)` presentation times in seconds.
        """
        logits = fake_logits(features, self._labels)
        return ClipScore(
            logit=float(logits.mean()),
            per_frame_logits=tuple(logits.tolist()),
            times_s=tuple(float(t) for t in times_s),
        )

    def saliency(self, rows: Rows) -> Saliency | None:
        """Attention rollout for plain vision transformers, `(T, h, h)` of their patches; None for every other type."""
        readout = _readout(self._net.config)
        if readout is None:
            return None
        with torch.no_grad():
            pixels = to_float(torch.tensor(rows, device=self._device.torch), self._scale, self._mean, self._std)
            attentions = self._twin(pixels, output_attentions=True).attentions
            return rollout(attentions, readout(attentions[0].shape[-1], self._device.torch))

    @cached_property
    def _twin(self) -> Any:
        return attentive(self._net)


def _readout(config: Any) -> Readout | None:
    """What a type of network reads its classes off; None where its tokens are not one square of patches throughout."""
    match config.model_type:
        case "vit" | "deit":
            return first_token
        case "siglip":
            return mean_of_patches
        case "beit":
            return mean_of_patches if config.use_mean_pooling else first_token
        case "dinov2":  # its head sees both, side by side
            return lambda length, device: (first_token(length, device) + mean_of_patches(length, device)) / 2
    return None


def load(recipe: Recipe) -> HfImageClassifier:
    """Build the detector from a published folder.

    Files:
        weights: `model.safetensors`.
        config: `config.json`.
        preprocessor: `preprocessor_config.json`. Without it nothing says how pixels are normalised, and the default
            of a model's type is not what a fine-tuned one was given.

    Raises:
        WeightsError: a file is missing, unreadable or asks for code of its own; a key is missing, unexpected or
            misshapen; or the label order cannot be established.
        CatalogueError: the row has options, lacks a file, or has another view than the preprocessor.
    """
    recipe.accept_options()
    if absent := [name for name in ("config", "preprocessor") if name not in recipe.files]:
        raise CatalogueError(f"{recipe.id}: hf_image_classifier needs the file {', '.join(absent)} too.")
    pixels = normalisation(recipe, read_json(recipe.files["preprocessor"]))
    config = _config(recipe.files["config"])
    labels = established(config.id2label, recipe.labels, recipe.id)
    return HfImageClassifier(_net(config, recipe), labels, pixels, recipe)


def _config(path: Path) -> Any:
    config = read_config(
        path, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, "that of an image classifier of transformers"
    )
    if config.problem_type == "multi_label_classification":
        raise WeightsError(f"{path} has labels that do not exclude each other (problem_type).", "One of them must win.")
    return config


def _net(config: Any, recipe: Recipe) -> Any:
    """The network with its weights.

    transformers renames the modules of old architectures and writes files with their old keys: `fill` sees the new
    ones, errors name the published ones.
    """
    net = built(AutoModelForImageClassification, config, recipe.files["config"])
    wanted = net.state_dict()
    keys = {id(tensor): key for key, tensor in wanted.items()}
    published = revert_weight_conversion(net, dict(wanted))
    if any(id(tensor) not in keys for tensor in published.values()):
        raise WeightsError(f"{recipe.id}: the file of a {config.model_type} holds other tensors than its network.")
    tensors = _without_buffers(net, read_tensors(recipe.weights))
    check_keys(tensors, {key: tuple(tensor.shape) for key, tensor in published.items()}, recipe.weights)
    fill(net, {keys[id(tensor)]: tensors[key] for key, tensor in published.items()}, recipe.weights)
    return net


def _without_buffers(net: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the tables that old files carry and transformers now computes (`relative_position_index` of Swin)."""
    # The patterns are transformers' own: what it declares to be of no use to this class of network.
    patterns = [*(net._keys_to_ignore_on_load_unexpected or ()), r"(^|\.)position_ids$"]  # noqa: SLF001
    return {key: tensor for key, tensor in tensors.items() if not any(re.search(p, key) for p in patterns)}


def normalisation(recipe: Recipe, content: Mapping[str, Any]) -> Normalisation:
    """What a `preprocessor_config.json` does to pixels, once it is clear that the view does the rest.

    Raises:
        CatalogueError: the view resizes otherwise; the key of the view is named.
        WeightsError: it has a step that is not done here, or does not say what it needs to.
    """
    name, view = recipe.id, recipe.view
    if other := sorted(key for key, value in content.items() if key.startswith("do_") and value and key not in STEPS):
        raise WeightsError(f"{name}: its preprocessor has the step {', '.join(other)}, which is not done here.")
    size, fit = _square(name, content)
    code = content.get("resample")
    resample = RESAMPLE.get(code) if isinstance(code, int) else None
    for key, asked, done in (("size", size, view.size), ("fit", fit, view.fit), ("resample", resample, view.resample)):
        if asked != done:
            raise CatalogueError(f"{name}: its view has {key} {done}, its preprocessor {asked or content.get(key)}.")
    normalised = content.get("do_normalize", True)
    return Normalisation(
        scale=float(content.get("rescale_factor", RESCALE)) if content.get("do_rescale", True) else 1.0,
        mean=_channels(name, content, "image_mean") if normalised else (0.0, 0.0, 0.0),
        std=_channels(name, content, "image_std") if normalised else (1.0, 1.0, 1.0),
    )


def _square(name: str, content: Mapping[str, Any]) -> tuple[int, Fit]:
    """Side of the square in pixels, and how a picture fills it."""
    written = str(content.get("image_processor_type") or content.get("feature_extractor_type"))
    found = PROCESSOR.fullmatch(written)
    kind = found[1] if found else ""
    size: Any = content.get("size") if content.get("do_resize", True) else None
    crop: Any = content.get("crop_size", "an unsaid size") if content.get("do_center_crop") else None
    match size:
        case int(side) if kind == "ViT" and crop is None:  # as it was written before 2022
            return side, "squash"
        case {"height": int(side), "width": int(width)} if kind in SQUASHING and crop is None and side == width:
            return side, "squash"
        case int(side) | {"shortest_edge": int(side)} if kind in CROPPING and crop in _squares(side):
            return side, "crop"
        case int(side) | {"shortest_edge": int(side)} if kind == CONVNEXT and side >= CONVNEXT_SQUASHES_FROM:
            return side, "squash"
    raise WeightsError(
        f"{name}: its {written} resizes to {size} and crops to {crop}, which no view does.",
        "A view squashes a picture into a square, or scales its shorter side to the square and takes the centre.",
    )


def _squares(side: int) -> tuple[int | dict[str, int], ...]:
    """The ways in which `crop_size` writes a square."""
    return side, {"height": side, "width": side}


def _channels(name: str, content: Mapping[str, Any], key: str) -> tuple[float, ...]:
    values = content.get(key)
    if not isinstance(values, list) or len(values) != 3:  # noqa: PLR2004 - red, green, blue
        raise WeightsError(f"{name}: its preprocessor has the {key} {values}.", "It must be three numbers.")
    return tuple(float(value) for value in values)
