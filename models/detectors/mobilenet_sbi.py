"""MobileNetV2 on face crops, fine-tuned to find where a face was blended in.

Architecture: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
Training task: Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.contract import Recipe, Rows, Saliency
from models.detectors.device import Device, to_float
from models.detectors.saliency import grad_cam
from models.detectors.weights import fill, read_tensors
from models.errors import CatalogueError
from models.types import ClipScore, View

# Expansion, output channels, repeats, first stride: table 2 of the MobileNetV2 paper, width 1.0.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# Blocks up to the end of the fifth stage. Beyond them every place has seen the whole crop, and maps taken there do not
# point at what was forged: docs/decisions/0009 has the figures.
LOCATED = sum(repeats for _, _, repeats, _ in STAGES[:5])
STEM_CHANNELS = 32
FEATURES = 1280
TRIM = 0.125  # of the frames at each end: 2 of 16, so that one bad crop cannot decide a clip


def same_padding(size: int, stride: int) -> tuple[int, int]:
    """Padding before and after one axis for a 3-wide kernel, as TensorFlow's `SAME` lays it out.

    At stride 2 an even size is padded after only, where PyTorch's `padding=1` would pad both sides and look
    one pixel away from where the ImageNet weights learnt to look.
    """
    out = -(-size // stride)
    total = max((out - 1) * stride + 3 - size, 0)
    return total // 2, total - total // 2


class Conv(nn.Conv2d):
    """Convolution with `SAME` padding and the batch norm folded into its weight and bias."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        inner = kernel // 2 if stride == 1 else 0
        super().__init__(channels_in, channels_out, kernel, stride, inner, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` in, `(N, C', ceil(H / stride), ceil(W / stride))` out."""
        step = self.stride[0]
        if step > 1:
            x = functional.pad(x, (*same_padding(x.shape[3], step), *same_padding(x.shape[2], step)))
        return super().forward(x)


class Block(nn.Module):
    """Inverted residual: expand, filter per channel, project."""

    def __init__(self, channels_in: int, channels_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expand = Conv(channels_in, inner, 1) if expansion > 1 else None
        self.depthwise = Conv(inner, inner, 3, stride, groups=inner)
        self.project = Conv(inner, channels_out, 1)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` in; the last convolution is linear, as in the paper."""
        y = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        y = functional.relu6(self.depthwise(y), inplace=True)
        projected: Tensor = self.project(y)
        return x + projected if self.residual else projected


class MobileNetV2(nn.Module):
    """The network: RGB in [-1, 1] to a pooled feature, and a linear head of one logit (fake is positive)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, STEM_CHANNELS, 3, 2)
        blocks, channels = [], STEM_CHANNELS
        for expansion, channels_out, repeats, stride in STAGES:
            for repeat in range(repeats):
                blocks.append(Block(channels, channels_out, expansion, 1 if repeat else stride))
                channels = channels_out
        self.blocks = nn.Sequential(*blocks)
        self.top = Conv(channels, FEATURES, 1)
        self.head = nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` float32 in [-1, 1] in, `(N, 1280)` pooled features out; the head is applied apart."""
        return self.pool(self.see(x))

    def see(self, x: Tensor) -> Tensor:
        """The first part, as long as a place is a place: `(N, 96, H / 16, W / 16)`."""
        seen: Tensor = self.blocks[:LOCATED](functional.relu6(self.stem(x), inplace=True))
        return seen

    def pool(self, seen: Tensor) -> Tensor:
        """The second part, from `see` to `(N, 1280)`."""
        return functional.relu6(self.top(self.blocks[LOCATED:](seen)), inplace=True).mean(dim=(2, 3))


def to_input(batch: Tensor) -> Tensor:
    """`(N, H, W, 3)` uint8 RGB to `(N, 3, H, W)` float32 in [-1, 1], channels last in memory."""
    return to_float(batch, 1 / 127.5, 1.0, 1.0)


def trimmed_mean(values: NDArray[np.float32], trim: float = TRIM) -> float:
    """Mean of `(T,)` values without the `trim` share at each end."""
    cut = int(len(values) * trim)
    return float(np.sort(values.astype(np.float64))[cut : len(values) - cut].mean())


class MobileNetSbi:
    """The detector `mobilenet-sbi`; satisfies `models.detectors.contract.Detector`."""

    def __init__(self, net: MobileNetV2, view: View, device: Device) -> None:
        self.view = view
        self._device = device
        self._net = device.place(net, channels_last=True)
        self._head_weight = net.head.weight.cpu().numpy()[0].astype(np.float64)
        self._head_bias = float(net.head.bias.cpu()[0])

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """Pooled features of face crops.

        Args:
            batch: `(N, H, W, 3)` uint8 RGB in [0, 255]; may be read-only. Height and width are `view.size`.

        Returns:
            `(N, 1280)` float32, at least 0. A row does not depend on its neighbours.
        """
        return self._device.encode(lambda rows: self._net(to_input(rows)), batch)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one face track.

        Args:
            features: `(T, 1280)` float32 from `encode`, T at least 1.
            times_s: `(T,)` presentation times in seconds.

        Returns:
            Logits before calibration: of each frame, and of the clip as their trimmed mean.
        """
        logits = (features.astype(np.float64) @ self._head_weight + self._head_bias).astype(np.float32)
        return ClipScore(
            logit=trimmed_mean(logits),
            per_frame_logits=tuple(float(v) for v in logits),
            times_s=tuple(float(t) for t in times_s),
        )

    def saliency(self, rows: Rows) -> Saliency:
        """Grad-CAM after the fifth stage, `(T, 10, 10)` of crops of 160 pixels."""
        pixels = to_input(torch.tensor(rows, device=self._device.torch))
        return grad_cam(pixels, self._net.see, lambda seen: self._net.head(self._net.pool(seen))[:, 0])


def load(recipe: Recipe) -> MobileNetSbi:
    """Build the detector from its safetensors file.

    Raises:
        WeightsError: the file cannot be read, or a key is missing, unexpected or misshapen; the key is named.
        CatalogueError: the row has an option, or labels other than `fake`.
    """
    recipe.accept_options()
    if recipe.labels not in {(), ("fake",)}:
        raise CatalogueError(f"{recipe.id}: its labels are {', '.join(recipe.labels)}.", "Its one logit is of fake.")
    return MobileNetSbi(read_net(recipe.weights), recipe.view, Device(recipe.device, recipe.precision))


def read_net(weights_path: Path) -> MobileNetV2:
    """The network with the weights of a safetensors file, half or single precision, in single. Raises as `load`."""
    net = MobileNetV2()
    fill(net, read_tensors(weights_path), weights_path)
    return net
