"""Colours of a face over time: histograms of chromaticity, window by window through an LSTM.

Synthesis and re-encoding shift the colours of skin by little, but together; which colours there are, and how that
changes from frame to frame, is all this network sees. The histograms are computed where the rows are, the network once
per clip over every window of consecutive frames.
"""

import math

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.contract import Recipe, Rows
from models.detectors.device import Device
from models.detectors.labels import fake_logits, logit_of_mean
from models.detectors.weights import fill, read_tensors
from models.errors import CatalogueError, WeightsError
from models.types import Class, ClipScore, View

WINDOW = 32  # frames that the network judges as a whole; it slides by one
DARKEST = 1e-6  # added to each channel, so that black has a chromaticity too: grey


class ColorCues(nn.Module):
    """LSTM over one window of histograms; the last step through two linear layers to one logit."""

    def __init__(self, inputs: int, hidden: int, inner: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.fc1 = nn.Linear(hidden, inner)
        self.fc2 = nn.Linear(inner, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, window, inputs)` in, `(N, 1)` logits out. Dropout of the published network is for training only."""
        steps, _ = self.lstm(x)
        logit: Tensor = self.fc2(functional.relu(self.fc1(steps[:, -1])))
        return logit


def histograms(pixels: Tensor, bins: int) -> Tensor:
    """How often each chromaticity occurs.

    Args:
        pixels: `(N, H, W, 3)` uint8 RGB.
        bins: along each of r and g, over [0, 1].

    Returns:
        `(N, bins * bins)` float32, scaled so that each row's rarest bin is 0 and its most frequent 255. Entry
        `r_bin * bins + g_bin`, as `numpy.histogram2d(r, g)` lays it out, where r and g are red and green as shares of
        the three channels' sum. Counts are whole numbers: a row does not depend on its neighbours.
    """
    channels = pixels.flatten(1, 2).double() + DARKEST
    shares = channels[..., :2] / channels.sum(dim=2, keepdim=True)
    cells = (shares * bins).long().clamp_(max=bins - 1)
    rows = torch.arange(len(pixels), device=pixels.device)[:, None] * bins**2
    flat = (rows + cells[..., 0] * bins + cells[..., 1]).flatten()
    counts = torch.bincount(flat, minlength=len(pixels) * bins**2).view(len(pixels), bins**2).float()
    low, high = counts.amin(dim=1, keepdim=True), counts.amax(dim=1, keepdim=True)
    return (counts - low) / (high - low).clamp(min=1) * 255


class ColorCuesLstm:
    """The detector; satisfies `models.detectors.contract.Detector`."""

    def __init__(self, net: ColorCues, view: View, labels: tuple[Class, ...], window: int, device: Device) -> None:
        self.view = view
        self._labels = labels
        self._window = window
        self._device = device
        self._bins = math.isqrt(net.lstm.input_size)
        self._net = device.place(net)

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """Histograms of face crops.

        Args:
            batch: `(N, H, W, 3)` uint8 RGB.

        Returns:
            `(N, bins * bins)` float32 in [0, 255].
        """
        return self._device.encode(lambda rows: histograms(rows, self._bins), batch)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one face track: the logit of the mean probability over its windows, as published.

        Args:
            features: `(T, bins * bins)` float32 from `encode`.
            times_s: `(T,)` presentation times in seconds.

        Raises:
            ValueError: T is below the window, which the view's `minimum` prevents.
        """
        if len(features) < self._window:
            raise ValueError(f"{len(features)} frames are less than the window of {self._window}")
        windows = sliding_window_view(features, self._window, axis=0).swapaxes(1, 2)
        logits = fake_logits(self._device.encode(self._net, windows), self._labels)
        ends = times_s[self._window - 1 :]
        return ClipScore(
            logit=logit_of_mean(logits),
            per_window_logits=tuple(float(v) for v in logits),
            windows_s=tuple((float(a), float(b)) for a, b in zip(times_s, ends, strict=False)),
        )


def load(recipe: Recipe) -> ColorCuesLstm:
    """Build the detector. The option `window` is how many frames are judged as a whole, 32 as published.

    Raises:
        WeightsError: the file cannot be read, a key is missing, unexpected or misshapen (it is named), the histogram is
            not square, or the labels are not one.
        CatalogueError: an option is unknown or wrong, or the view lets through less than one window.
    """
    recipe.accept_options("window")
    window = recipe.options.get("window", WINDOW)
    if not isinstance(window, int) or not 1 <= window <= recipe.view.count:
        raise CatalogueError(f"{recipe.id}: the option window is {window!r}.", f"1 to {recipe.view.count}, its count.")
    if recipe.view.minimum < window:
        raise CatalogueError(
            f"{recipe.id}: view.minimum is {recipe.view.minimum}, less than the window of {window} frames.",
            f"minimum: {window} leaves out what cannot be scored.",
        )
    fake_logits(np.zeros((1, 1), np.float32), recipe.labels)  # labels that do not fit are refused here
    device = Device(recipe.device, recipe.precision)
    return ColorCuesLstm(read_net(recipe), recipe.view, recipe.labels, window, device)


def read_net(recipe: Recipe) -> ColorCues:
    """The network with its weights; its sizes are those of the tensors. Raises `WeightsError`."""
    tensors = read_tensors(recipe.weights)
    sizes = {"lstm.weight_ih_l0": 2, "lstm.bias_ih_l0": 1, "fc1.weight": 2}
    for key, dimensions in sizes.items():
        if key not in tensors or tensors[key].ndim != dimensions:
            raise WeightsError(f"{recipe.weights} lacks the key {key}, or it has not {dimensions} dimensions.")
    inputs = tensors["lstm.weight_ih_l0"].shape[1]
    if math.isqrt(inputs) ** 2 != inputs:
        raise WeightsError(
            f"{recipe.weights} has lstm.weight_ih_l0 for {inputs} inputs.", "It must be a square: bins of r and of g."
        )
    net = ColorCues(inputs, len(tensors["lstm.bias_ih_l0"]) // 4, len(tensors["fc1.weight"]))
    fill(net, tensors, recipe.weights)
    return net
