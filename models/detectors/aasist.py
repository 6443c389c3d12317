"""AASIST and AASIST-L: graph attention over the spectrum and the course of raw speech, against spoofed speech.

Architecture and weights: Jung et al., "AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention
Networks", ICASSP 2022, clovaai/aasist (MIT). Fixed sinc filters: Tak et al., "End-to-End anti-spoofing with RawNet2",
ICASSP 2021. Trained on ASVspoof 2019 LA. The masking of filters and the dropout of training are left out.

Shapes below are of one window of 64,600 samples; N rows, C = 64 channels (AASIST-L: 24), G = 64 then 32 (24 then 32).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.contract import Recipe, Rows
from models.detectors.device import Device
from models.detectors.labels import fake_logits
from models.detectors.sound import judged
from models.detectors.weights import fill, read_tensors
from models.errors import WeightsError
from models.media.limits import SAMPLE_RATE_HZ
from models.types import Class, ClipScore, View

FILTERS = 70
TAPS = 129  # published as 128, and made odd so that the filters are symmetric
POOLED = FILTERS // 3  # bands after the first max pooling
LABELS: tuple[Class, ...] = ("fake", "real")  # of the published files: the second output is bona fide
# Of the two plain graphs and of the graphs that mix both kinds of nodes.
TEMPERATURE, MIXED_TEMPERATURE = 2.0, 100.0


@dataclass(frozen=True, slots=True)
class Form:
    """One published size.

    Attributes:
        channels: after the first two blocks of the encoder, and after the other four.
        graph: width of the plain graphs, and of the mixed ones.
        keep: share of nodes kept of the spectral, the temporal and the mixed graphs.
    """

    channels: tuple[int, int]
    graph: tuple[int, int]
    keep: tuple[float, float, float]


# Told apart by the channels of the encoder, which is the last axis of `pos_S`. The configurations name a fourth share
# of nodes, which the published network does not use.
FORMS = {
    64: Form((32, 64), (64, 32), (0.5, 0.7, 0.5)),  # AASIST: 297,866 parameters
    24: Form((32, 24), (24, 32), (0.4, 0.5, 0.7)),  # AASIST-L: 85,306
}


def sinc_filters() -> Tensor:
    """Band passes of equal width in mel over 0 to 8 kHz, in a Hamming window: `(70, 1, 129)` float32."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700), FILTERS + 1)
    edges = 700 * (10 ** (mel[:, None] / 2595) - 1) * 2 / SAMPLE_RATE_HZ  # as shares of the Nyquist frequency
    low_passes = edges * np.sinc(edges * (np.arange(TAPS) - TAPS // 2))
    return torch.from_numpy(np.diff(low_passes, axis=0) * np.hamming(TAPS)).float().unsqueeze(1)


class Block(nn.Module):
    """Residual block; thirds the time.

    `bn1` is in the published files, but the published network convolves the block's input as it is: what `bn1` gives
    is never read. The weights were trained so, and are computed with so.
    """

    def __init__(self, channels_in: int, channels_out: int, *, first: bool = False) -> None:
        super().__init__()
        if not first:
            self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, (2, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, (2, 3), padding=(0, 1))
        same = channels_in == channels_out
        self.conv_downsample = None if same else nn.Conv2d(channels_in, channels_out, (1, 3), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, F, T)` in, `(N, C', F, T // 3)` out."""
        y = self.conv2(functional.selu(self.bn2(self.conv1(x))))
        return functional.max_pool2d(y + (x if self.conv_downsample is None else self.conv_downsample(x)), (1, 3))


def pairs(x: Tensor) -> Tensor:
    """Products of all pairs of nodes: `(N, n, G)` in, `(N, n, n, G)` out."""
    return x.unsqueeze(2) * x.unsqueeze(1)


def normalised(x: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """`(N, n, G)` nodes through a batch norm of G channels, then SELU."""
    return functional.selu(norm(x.transpose(1, 2)).transpose(1, 2))


class Graph(nn.Module):
    """Attention among nodes of one kind."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.att_weight = nn.Parameter(torch.empty(width, 1))
        self.att_proj = nn.Linear(width_in, width)
        self.proj_with_att = nn.Linear(width_in, width)
        self.proj_without_att = nn.Linear(width_in, width)
        self.bn = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, n, C)` nodes in, `(N, n, G)` out."""
        scores = (torch.tanh(self.att_proj(pairs(x))) @ self.att_weight).squeeze(-1)
        attended = torch.softmax(scores / TEMPERATURE, -1) @ x
        return normalised(self.proj_with_att(attended) + self.proj_without_att(x), self.bn)


class MixedGraph(nn.Module):
    """Attention among nodes of two kinds, and of a master node that only listens."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.att_weight11 = nn.Parameter(torch.empty(width, 1))
        self.att_weight22 = nn.Parameter(torch.empty(width, 1))
        self.att_weight12 = nn.Parameter(torch.empty(width, 1))
        self.att_weightM = nn.Parameter(torch.empty(width, 1))
        self.proj_type1 = nn.Linear(width_in, width_in)
        self.proj_type2 = nn.Linear(width_in, width_in)
        self.att_proj = nn.Linear(width_in, width)
        self.att_projM = nn.Linear(width_in, width)
        self.proj_with_att = nn.Linear(width_in, width)
        self.proj_without_att = nn.Linear(width_in, width)
        self.proj_with_attM = nn.Linear(width_in, width)
        self.proj_without_attM = nn.Linear(width_in, width)
        self.bn = nn.BatchNorm1d(width)

    def forward(self, first: Tensor, second: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(N, n1, G)`, `(N, n2, G)` and `(N or 1, 1, G)` in; the same with the new width out."""
        x = torch.cat([self.proj_type1(first), self.proj_type2(second)], 1)
        heard = self._listen(x, master)
        attended = torch.softmax(self._scores(x, first.shape[1]) / MIXED_TEMPERATURE, -1) @ x
        x = normalised(self.proj_with_att(attended) + self.proj_without_att(x), self.bn)
        return x[:, : first.shape[1]], x[:, first.shape[1] :], heard

    def _scores(self, x: Tensor, count: int) -> Tensor:
        """`(N, n, n)`: of each pair by the weight of its kinds; the first `count` nodes are of the first kind."""
        weights = torch.cat([self.att_weight11, self.att_weight12, self.att_weight22], 1)
        by_kind = torch.tanh(self.att_proj(pairs(x))) @ weights
        second = (torch.arange(x.shape[1], device=x.device) >= count).long()
        kind = (second[:, None] + second).expand(by_kind.shape[:-1]).unsqueeze(-1)
        return by_kind.gather(-1, kind).squeeze(-1)

    def _listen(self, x: Tensor, master: Tensor) -> Tensor:
        scores = torch.tanh(self.att_projM(x * master)) @ self.att_weightM
        attended = torch.softmax(scores / MIXED_TEMPERATURE, 1).transpose(1, 2) @ x
        heard: Tensor = self.proj_with_attM(attended) + self.proj_without_attM(master)
        return heard


class Pool(nn.Module):
    """Keeps the nodes that score highest, each weighted with its score, in the order of their scores."""

    def __init__(self, width: int, keep: float) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 1)
        self._keep = keep

    def forward(self, x: Tensor) -> Tensor:
        """`(N, n, G)` in, `(N, max(1, int(n * keep)), G)` out. Of equal scores the earlier node comes first."""
        scores = torch.sigmoid(self.proj(x))
        order = scores.argsort(dim=1, descending=True, stable=True)[:, : max(int(x.shape[1] * self._keep), 1)]
        return (x * scores).gather(1, order.expand(-1, -1, x.shape[2]))


class Aasist(nn.Module):
    """The network. Attributes are named as the keys of the published files."""

    filters: Tensor

    def __init__(self, form: Form) -> None:
        super().__init__()
        (few, channels), (wide, mixed) = form.channels, form.graph
        self.register_buffer("filters", sinc_filters(), persistent=False)
        self.first_bn = nn.BatchNorm2d(1)
        widths = (1, few, few, channels, channels, channels, channels)
        blocks = (Block(widths[i], widths[i + 1], first=i == 0) for i in range(6))
        self.encoder = nn.Sequential(*(nn.Sequential(block) for block in blocks))
        self.pos_S = nn.Parameter(torch.empty(1, POOLED, channels))
        self.GAT_layer_S = Graph(channels, wide)
        self.GAT_layer_T = Graph(channels, wide)
        self.pool_S = Pool(wide, form.keep[0])
        self.pool_T = Pool(wide, form.keep[1])
        for branch in "12":
            self.register_parameter(f"master{branch}", nn.Parameter(torch.empty(1, 1, wide)))
            self.add_module(f"HtrgGAT_layer_ST{branch}1", MixedGraph(wide, mixed))
            self.add_module(f"HtrgGAT_layer_ST{branch}2", MixedGraph(mixed, mixed))
            self.add_module(f"pool_hS{branch}", Pool(mixed, form.keep[2]))
            self.add_module(f"pool_hT{branch}", Pool(mixed, form.keep[2]))
        self.out_layer = nn.Linear(5 * mixed, 2)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 64600)` float32 at 16 kHz in, `(N, 2)` logits of fake and bona fide out."""
        x = functional.conv1d(x.unsqueeze(1), self.filters).abs().unsqueeze(1)
        x = self.encoder(functional.selu(self.first_bn(functional.max_pool2d(x, 3)))).abs()  # (N, C, 23, 29)
        spectral = self.pool_S(self.GAT_layer_S(x.amax(3).transpose(1, 2) + self.pos_S))
        temporal = self.pool_T(self.GAT_layer_T(x.amax(2).transpose(1, 2)))
        branches = (self._branch(branch, temporal, spectral) for branch in "12")
        temporal, spectral, master = (torch.maximum(*two) for two in zip(*branches, strict=True))
        read = [of for nodes in (temporal, spectral) for of in (nodes.abs().amax(1), nodes.mean(1))]
        logits: Tensor = self.out_layer(torch.cat([*read, master.squeeze(1)], 1))
        return logits

    def _branch(self, branch: str, temporal: Tensor, spectral: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One of two parallel readings: a mixed graph, pooling, and another mixed graph added to its own input."""
        part = self.get_submodule
        master = self.get_parameter(f"master{branch}")
        temporal, spectral, master = part(f"HtrgGAT_layer_ST{branch}1")(temporal, spectral, master)
        nodes = (part(f"pool_hT{branch}")(temporal), part(f"pool_hS{branch}")(spectral), master)
        temporal, spectral, master = part(f"HtrgGAT_layer_ST{branch}2")(*nodes)
        return nodes[0] + temporal, nodes[1] + spectral, nodes[2] + master


class AasistDetector:
    """The detector `aasist`; satisfies `models.detectors.contract.Detector`."""

    def __init__(self, net: Aasist, recipe: Recipe) -> None:
        self.view: View = recipe.view
        self._labels = recipe.labels or LABELS
        fake_logits(np.zeros((1, 2), np.float32), self._labels)  # labels that do not fit are refused here
        self._device = Device(recipe.device, recipe.precision)
        self._net = self._device.place(net, channels_last=True)

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """Logits of windows of sound.

        Args:
            batch: `(N, samples)` float32 at 16 kHz in [-1, 1]; may be read-only. 64,600 samples were trained on.

        Returns:
            `(N, 2)` float32 in the order of the labels. A row does not depend on its neighbours.
        """
        return self._device.encode(self._logits, batch)

    def _logits(self, rows: Tensor) -> Tensor:
        # Pooling orders nodes by score, so a last bit that changes with the batch could swap two of them. On the CPU
        # a row alone costs the same as among others, and is then the same to the last bit.
        step = max(len(rows), 1) if rows.is_cuda else 1
        return torch.cat([self._net(rows[i : i + step]) for i in range(0, max(len(rows), 1), step)])

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one sound: the mean logit of its windows.

        Args:
            features: `(W, 2)` float32 from `encode`, W at least 1.
            times_s: `(W,)`, where the windows start, in seconds.

        Returns:
            Log odds of fake. The published evaluation ranks by the bona fide output alone.
        """
        return judged(fake_logits(features, self._labels), times_s, self.view.size)


def load(recipe: Recipe) -> AasistDetector:
    """Build the detector from its safetensors file; which of the two sizes it is, its shapes say.

    Raises:
        WeightsError: the file cannot be read, a key is missing, unexpected or misshapen (it is named), or the labels
            are not those of two outputs.
        CatalogueError: the row has options; there are none.
    """
    recipe.accept_options()
    tensors = read_tensors(recipe.weights)
    channels = (tensors["pos_S"].shape or (0,))[-1] if "pos_S" in tensors else max(FORMS)
    if channels not in FORMS:
        raise WeightsError(f"{recipe.weights} has pos_S with {channels} channels.", "AASIST has 64, AASIST-L 24.")
    net = Aasist(FORMS[channels])
    fill(net, tensors, recipe.weights)
    return AasistDetector(net, recipe)
