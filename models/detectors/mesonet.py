"""Meso4 and MesoInception4: two small networks on face crops, with the Keras weights their authors published.

Source: Afchar, Nozick, Yamagishi, Echizen, "MesoNet: a Compact Facial Video Forgery Detection Network", WIFS 2018;
DariusAf/MesoNet. Every layer is as Keras computes it: zeros around "same" convolutions, ReLU before the batch norm.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.detectors.contract import Recipe, Rows, Saliency
from models.detectors.device import Device, to_float
from models.detectors.labels import fake_logits, logit_of_mean
from models.detectors.saliency import fake_logit, grad_cam
from models.detectors.weights import check_keys, read_tensors
from models.errors import CatalogueError
from models.types import ClipScore, View

SIZE = 256  # pixels; the first dense layer is as wide as what is left of them after pooling
POOLED = 8 * 8 * 16  # 256 / (2 * 2 * 2 * 4) = 8 on each side, 16 channels
HIDDEN = 16
NORM_EPS = 1e-3  # of Keras; that of torch is a hundredth of it
SLOPE = 0.1

# What Keras calls each kind of layer, and its arrays in the order torch names them.
KINDS: tuple[tuple[str, type[nn.Module], dict[str, str]], ...] = (
    ("conv2d", nn.Conv2d, {"weight": "kernel", "bias": "bias"}),
    (
        "batch_normalization",
        nn.BatchNorm2d,
        {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"},
    ),
    ("dense", nn.Linear, {"weight": "kernel", "bias": "bias"}),
)


def convolution(channels_in: int, channels_out: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the picture's size, and its ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, kernel, padding=padding, dilation=dilation), nn.ReLU())


class Inception(nn.Module):
    """Four views of the same place, side by side: as it is, and through 3x3 kernels at dilation 1, 2 and 3."""

    def __init__(self, channels_in: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([convolution(channels_in, widths[0], 1)])
        for dilation, width in enumerate(widths[1:], 1):
            pair = (convolution(channels_in, width, 1), convolution(width, width, 3, dilation))
            self.branches.append(nn.Sequential(*pair))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` in, `(N, sum(widths), H, W)` out."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class MesoNet(nn.Module):
    """Four stages of convolution, batch norm and pooling, and two dense layers; the last gives the logit of "real".

    The layers of each kind are registered in the order in which Keras made, and so numbered, them.
    """

    def __init__(self, *, inception: bool) -> None:
        super().__init__()
        if inception:
            first: list[nn.Module] = [Inception(3, (1, 4, 4, 2)), Inception(11, (2, 4, 4, 2))]
            channels = (11, 12, 16, 16)
        else:
            first = [convolution(3, 8, 3), convolution(8, 8, 5)]
            channels = (8, 8, 16, 16)
        filters = [*first, convolution(channels[1], 16, 5), convolution(16, 16, 5)]
        stages = zip(filters, channels, (2, 2, 2, 4), strict=True)
        self.stages = nn.Sequential(
            *(nn.Sequential(f, nn.BatchNorm2d(width, NORM_EPS), nn.MaxPool2d(pool)) for f, width, pool in stages)
        )
        self.head = nn.Sequential(nn.Linear(POOLED, HIDDEN), nn.LeakyReLU(SLOPE), nn.Linear(HIDDEN, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, 256, 256)` float32 in [0, 1] in, `(N, 1)` logits out. Keras flattens with the channels last."""
        return self.judge(self.see(x))

    def see(self, x: Tensor) -> Tensor:
        """The same, up to the last convolution: `(N, 16, 32, 32)`."""
        seen: Tensor = self.stages[-1][0](self.stages[:-1](x))  # type: ignore[index]
        return seen

    def judge(self, seen: Tensor) -> Tensor:
        """The rest, from `see` to `(N, 1)` logits."""
        logits: Tensor = self.head(self.stages[-1][1:](seen).permute(0, 2, 3, 1).flatten(1))  # type: ignore[index]
        return logits


class Meso:
    """The detector `mesonet`; satisfies `models.detectors.contract.Detector`."""

    def __init__(self, net: MesoNet, recipe: Recipe) -> None:
        self.view: View = recipe.view
        self._labels = recipe.labels
        self._device = Device(recipe.device, recipe.precision)
        self._net = self._device.place(net, channels_last=True)

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """`(N, 256, 256, 3)` uint8 RGB face crops to `(N, 1)` logits of the network's one label."""
        return self._device.encode(lambda rows: self._net(to_float(rows, 1 / 255, 0.0, 1.0)), batch)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one face track: the frames' probabilities are averaged, as in section 3 of the paper."""
        logits = fake_logits(features, self._labels)
        return ClipScore(
            logit=logit_of_mean(logits),
            per_frame_logits=tuple(float(v) for v in logits),
            times_s=tuple(float(t) for t in times_s),
        )

    def saliency(self, rows: Rows) -> Saliency:
        """Grad-CAM of the last convolution, `(T, 32, 32)`."""
        pixels = to_float(torch.tensor(rows, device=self._device.torch), 1 / 255, 0.0, 1.0)
        return grad_cam(pixels, self._net.see, lambda seen: fake_logit(self._net.judge(seen), self._labels))


def load(recipe: Recipe) -> Meso:
    """Build the detector from a safetensors file whose keys are the dataset paths of the published .h5.

    Raises:
        WeightsError: the file cannot be read, a key is missing, unexpected or misshapen, or the labels are not one.
        CatalogueError: the row has an option, or a view of another size.
    """
    recipe.accept_options()
    if recipe.view.size != SIZE:
        raise CatalogueError(f"{recipe.id}: mesonet cannot see views of size {recipe.view.size}.", f"Only {SIZE}.")
    fake_logits(np.zeros((1, 1), np.float32), recipe.labels)
    return Meso(read_net(recipe.weights), recipe)


def read_net(path: Path) -> MesoNet:
    """Whichever of the two networks the file holds: only MesoInception4 has 1x1 kernels. Raises as `load`."""
    found = read_tensors(path)
    net = MesoNet(inception=any(tensor.shape[:2] == (1, 1) for tensor in found.values()))
    slots = dict(keras_slots(net, found))
    check_keys(found, {key: tuple(to_keras(slot).shape) for key, slot in slots.items()}, path)
    for key, slot in slots.items():
        to_keras(slot).copy_(found[key])
    return net


def keras_slots(net: MesoNet, found: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The file's key for each array of the network.

    Keras numbers layers of one kind by when they were made, over all networks of its session: the published Meso4
    starts at `conv2d_5`. So the first number is the file's own, and the others follow it.
    """
    for kind, of, names in KINDS:
        numbers = [int(match[1]) for key in found if (match := re.match(rf"{kind}_(\d+)/", key))]
        layers = [module for module in net.modules() if isinstance(module, of)]
        for number, layer in enumerate(layers, min(numbers, default=1)):
            for ours, theirs in names.items():
                yield f"{kind}_{number}/{kind}_{number}/{theirs}:0", getattr(layer, ours).detach()


def to_keras(array: Tensor) -> Tensor:
    """The same memory in the order of Keras: kernels `(H, W, in, out)`, dense weights `(in, out)`."""
    return array.permute(2, 3, 1, 0) if array.ndim == 4 else array.T if array.ndim == 2 else array  # noqa: PLR2004
