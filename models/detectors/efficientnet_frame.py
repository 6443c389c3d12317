"""EfficientNet on single frames of a face, with the keys of timm: the video detector of DeepSafe.

Architecture: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, as
timm's `efficientnet_b0` to `efficientnet_b7` compute it: zeros on both sides of strided convolutions (not the `tf_`
variants, which pad after only), and a head of three layers as DeepSafe trains it.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.contract import Recipe, Rows, Saliency
from models.detectors.device import Device, to_float
from models.detectors.labels import fake_logits, logit_of_mean
from models.detectors.saliency import fake_logit, grad_cam
from models.detectors.weights import fill, read_tensors
from models.errors import CatalogueError
from models.types import ClipScore

# Expansion, kernel, output channels, repeats, first stride: table 1 of the paper, for B0.
STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
LOCATED = 5  # stages; beyond them every place has seen nearly the whole crop, see docs/decisions/0009
STEM_CHANNELS = 32
FEATURES = 1280
SQUEEZE = 4  # the squeeze is this share of a block's input, not of its expansion
# Factors of channels and of repeats: the paper's compound scaling.
VARIANTS = {
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
}
DEFAULT_VARIANT = "b4"
HIDDEN = (512, 256)
OUTPUTS = 2
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def widened(channels: int, width: float) -> int:
    """Channels times the factor, to the nearest multiple of 8, but never more than a tenth below it."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


class SqueezeExcite(nn.Module):
    """Weighs each channel by what all of them are on average (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` in and out."""
        squeezed = functional.silu(self.conv_reduce(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.conv_expand(squeezed))


class Separable(nn.Module):
    """The first stage's block, which expands nothing: filter per channel, weigh, project."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = filter_per_channel(channels_in, kernel, stride)
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.se = SqueezeExcite(channels_in, channels_in // SQUEEZE)
        self.conv_pw = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` in; the last convolution is linear."""
        y = self.se(functional.silu(self.bn1(self.conv_dw(x))))
        projected: Tensor = self.bn2(self.conv_pw(y))
        return x + projected if self.residual else projected


class Inverted(nn.Module):
    """Every other stage's block: expand, filter per channel, weigh, project."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.conv_pw = nn.Conv2d(channels_in, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv_dw = filter_per_channel(inner, kernel, stride)
        self.bn2 = nn.BatchNorm2d(inner)
        self.se = SqueezeExcite(inner, channels_in // SQUEEZE)
        self.conv_pwl = nn.Conv2d(inner, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` in; the last convolution is linear."""
        y = functional.silu(self.bn1(self.conv_pw(x)))
        y = self.se(functional.silu(self.bn2(self.conv_dw(y))))
        projected: Tensor = self.bn3(self.conv_pwl(y))
        return x + projected if self.residual else projected


def block(channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> nn.Module:
    """The block of one stage: timm names the layers of those that expand nothing apart."""
    if expansion == 1:
        return Separable(channels_in, channels_out, kernel, stride)
    return Inverted(channels_in, channels_out, kernel, stride, expansion)


def filter_per_channel(channels: int, kernel: int, stride: int) -> nn.Conv2d:
    """A depthwise convolution, padded on both sides."""
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)


class EfficientNet(nn.Module):
    """The backbone, from normalised RGB to pooled features; modules are named as timm names them."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        width, depth = VARIANTS[variant]
        channels = widened(STEM_CHANNELS, width)
        self.conv_stem = nn.Conv2d(3, channels, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.blocks = nn.Sequential()
        for expansion, kernel, channels_b0, repeats, stride in STAGES:
            stage, out = nn.Sequential(), widened(channels_b0, width)
            for repeat in range(math.ceil(repeats * depth)):
                stage.append(block(channels, out, kernel, 1 if repeat else stride, expansion))
                channels = out
            self.blocks.append(stage)
        self.features = widened(FEATURES, width)
        self.conv_head = nn.Conv2d(channels, self.features, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(self.features)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` in, `(N, features)` out: 1,792 of them for B4."""
        return self.pool(self.see(x))

    def see(self, x: Tensor) -> Tensor:
        """The first part, as long as a place is a place: `(N, channels, H / 16, W / 16)`."""
        seen: Tensor = self.blocks[:LOCATED](functional.silu(self.bn1(self.conv_stem(x))))
        return seen

    def pool(self, seen: Tensor) -> Tensor:
        """The second part, from `see` to `(N, features)`."""
        return functional.silu(self.bn2(self.conv_head(self.blocks[LOCATED:](seen)))).mean((2, 3))


class FrameNet(nn.Module):
    """Backbone and classifier. The dropouts do nothing here; they hold the numbers the published keys count by."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.backbone = EfficientNet(variant)
        wide, narrow = HIDDEN
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(self.backbone.features, wide),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(wide, narrow),
            nn.ReLU(),
            nn.Linear(narrow, OUTPUTS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` in, `(N, 2)` logits out."""
        logits: Tensor = self.classifier(self.backbone(x))
        return logits


class EfficientNetFrame:
    """The detector `efficientnet_frame`; satisfies `models.detectors.contract.Detector`."""

    def __init__(self, net: FrameNet, recipe: Recipe) -> None:
        self.view = recipe.view
        self._labels = recipe.labels
        self._device = Device(recipe.device, recipe.precision)
        self._net = self._device.place(net, channels_last=True)
        self._mean, self._std = (
            torch.tensor(values, device=self._device.torch).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD)
        )

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """`(N, H, W, 3)` uint8 RGB face crops to `(N, 2)` logits, in the order of the labels."""
        return self._device.encode(lambda rows: self._net(to_float(rows, 1 / 255, self._mean, self._std)), batch)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one face track: DeepSafe averages the frames' probabilities."""
        logits = fake_logits(features, self._labels)
        return ClipScore(
            logit=logit_of_mean(logits),
            per_frame_logits=tuple(float(v) for v in logits),
            times_s=tuple(float(t) for t in times_s),
        )

    def saliency(self, rows: Rows) -> Saliency:
        """Grad-CAM after the fifth stage, `(T, 14, 14)` of crops of 224 pixels."""
        net = self._net
        pixels = to_float(torch.tensor(rows, device=self._device.torch), 1 / 255, self._mean, self._std)
        return grad_cam(
            pixels,
            net.backbone.see,
            lambda seen: fake_logit(net.classifier(net.backbone.pool(seen)), self._labels),
        )


def load(recipe: Recipe) -> EfficientNetFrame:
    """Build the detector from a safetensors file with the published keys, `backbone.*` and `classifier.*`.

    The option `variant` says which EfficientNet it is; B4 unless it does.

    Raises:
        WeightsError: the file cannot be read, a key is missing, unexpected or misshapen, or the labels are not two.
        CatalogueError: an option is unknown, or the variant is none of B0 to B7.
    """
    recipe.accept_options("variant")
    variant = recipe.options.get("variant", DEFAULT_VARIANT)
    if variant not in tuple(VARIANTS):  # of a mapping, a list would be a TypeError
        raise CatalogueError(f"{recipe.id}: there is no variant {variant}.", f"There are: {', '.join(VARIANTS)}.")
    fake_logits(np.zeros((1, OUTPUTS), np.float32), recipe.labels)
    net = FrameNet(variant)
    fill(net, read_tensors(recipe.weights), recipe.weights)
    return EfficientNetFrame(net, recipe)
