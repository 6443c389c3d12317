import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.detectors.aasist import AasistDetector, Pool, load
from models.detectors.contract import Recipe
from models.errors import CatalogueError, WeightsError
from models.types import View
from tests.checkpoints import assert_batch_invariant, assert_strict, published, written

RECIPE = Recipe("aasist", {}, View(region="audio", size=64_600, fit="repeat", count=4))
SHORT = 12_000  # samples; enough for five temporal nodes, and quick

# The published settings: channels of the encoder, widths of the graphs, share of nodes kept (S, T, mixed), parameters.
SIZES = {
    "AASIST": ((1, 32, 32, 64, 64, 64, 64), (64, 32), (0.5, 0.7, 0.5), 297_866),
    "AASIST-L": ((1, 32, 32, 24, 24, 24, 24), (24, 32), (0.4, 0.5, 0.7), 85_306),
}
Shapes = dict[str, tuple[int, ...]]


def linear(name: str, width_in: int, width: int) -> Shapes:
    return {f"{name}.weight": (width, width_in), f"{name}.bias": (width,)}


def norm(name: str, width: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.num_batches_tracked": ()} | {f"{name}.{part}": (width,) for part in parts}


def conv(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def block_shapes(i: int, before: int, after: int) -> Shapes:
    name = f"encoder.{i}.0"
    shapes = conv(f"{name}.conv1", after, before, 2, 3) | conv(f"{name}.conv2", after, after, 2, 3)
    shapes |= norm(f"{name}.bn2", after)
    shapes |= norm(f"{name}.bn1", before) if i else {}
    return shapes | (conv(f"{name}.conv_downsample", after, before, 1, 3) if before != after else {})


def mixed_shapes(name: str, width_in: int, width: int) -> Shapes:
    shapes: Shapes = {f"{name}.att_weight{kind}": (width, 1) for kind in ("11", "22", "12", "M")}
    for part in ("proj_type1", "proj_type2"):
        shapes |= linear(f"{name}.{part}", width_in, width_in)
    for part in ("att_proj", "att_projM", "proj_with_att", "proj_without_att", "proj_with_attM", "proj_without_attM"):
        shapes |= linear(f"{name}.{part}", width_in, width)
    return shapes | norm(f"{name}.bn", width)


def published_shapes(size: str) -> Shapes:
    channels, (wide, mixed), _, _ = SIZES[size]
    shapes: Shapes = {"pos_S": (1, 23, channels[-1]), "master1": (1, 1, wide), "master2": (1, 1, wide)}
    shapes |= norm("first_bn", 1) | linear("out_layer", 5 * mixed, 2)
    for i, (before, after) in enumerate(pairwise(channels)):
        shapes |= block_shapes(i, before, after)
    for kind in "ST":
        name = f"GAT_layer_{kind}"
        shapes |= {f"{name}.att_weight": (wide, 1)} | norm(f"{name}.bn", wide) | linear(f"pool_{kind}.proj", wide, 1)
        for part in ("att_proj", "proj_with_att", "proj_without_att"):
            shapes |= linear(f"{name}.{part}", channels[-1], wide)
        for branch in "12":
            shapes |= linear(f"pool_h{kind}{branch}.proj", mixed, 1)
    for branch in "12":
        shapes |= mixed_shapes(f"HtrgGAT_layer_ST{branch}1", wide, mixed)
        shapes |= mixed_shapes(f"HtrgGAT_layer_ST{branch}2", mixed, mixed)
    return shapes


def random_tensors(size: str) -> dict[str, Tensor]:
    """Of the published keys, small enough that no activation saturates."""
    draw = torch.Generator().manual_seed(17)
    tensors = {
        key: torch.randn(shape, generator=draw) / math.prod(shape[1:]) ** 0.5
        for key, shape in published_shapes(size).items()
    }
    for key, tensor in tensors.items():
        if key.endswith("running_var"):
            tensors[key] = 0.5 + tensor.abs()
        if key.endswith("num_batches_tracked"):
            tensors[key] = torch.tensor(7)
    return tensors


def sound(rows: int, samples: int) -> NDArray[np.float32]:
    """Tones that rise, in noise."""
    random = np.random.default_rng(23)
    t = np.arange(samples) / 16_000
    tones = [0.2 * np.sin(2 * np.pi * (200 * (row + 1) + 300 * t) * t) for row in range(rows)]
    return (np.stack(tones) + random.normal(0, 0.02, (rows, samples))).astype(np.float32)


class Definition:
    """The published network in double precision, one row at a time, straight from the state dict."""

    def __init__(self, size: str, tensors: dict[str, Tensor]) -> None:
        self.keep_s, self.keep_t, self.keep_mixed = SIZES[size][2]
        self.state = {key: tensor.double() for key, tensor in tensors.items()}

    def outputs(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.stack([self.row(torch.from_numpy(row).double()).numpy() for row in rows])

    def row(self, samples: Tensor) -> Tensor:
        x = functional.conv1d(samples[None, None], self.filters())
        x = functional.max_pool2d(x[None].abs(), (3, 3))
        x = functional.selu(self.norm("first_bn", x))
        for i in range(6):
            x = self.block(f"encoder.{i}.0", x)
        by_band, by_time = x[0].abs().max(2).values.T, x[0].abs().max(1).values.T  # nodes by channels
        s = self.pool("pool_S", self.graph("GAT_layer_S", by_band + self.state["pos_S"][0]), self.keep_s)
        t = self.pool("pool_T", self.graph("GAT_layer_T", by_time), self.keep_t)
        one, two = self.branch("1", t, s), self.branch("2", t, s)
        t, s, master = (torch.where(a > b, a, b) for a, b in zip(one, two, strict=True))
        last = [t.abs().max(0).values, t.mean(0), s.abs().max(0).values, s.mean(0), master[0]]
        return self.linear("out_layer", torch.cat(last))

    def filters(self) -> Tensor:
        n = torch.arange(-64, 65).double()
        window = 0.54 + 0.46 * torch.cos(2 * torch.pi * n / 128)
        top = 2595 * np.log10(1 + 8000 / 700)
        edges_hz = [700 * (10 ** (top * i / 70 / 2595) - 1) for i in range(71)]
        low_passes = [2 * hz / 16_000 * torch.sinc(2 * hz / 16_000 * n) for hz in edges_hz]
        return torch.stack([(above - below) * window for below, above in pairwise(low_passes)])[:, None]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def conv(self, name: str, x: Tensor, padding: tuple[int, int]) -> Tensor:
        return functional.conv2d(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], padding=padding)

    def norm(self, name: str, x: Tensor) -> Tensor:
        """Over the channels, which are axis 1."""
        mean, var, weight, bias = (
            self.state[f"{name}.{part}"].reshape(1, -1, *[1] * (x.ndim - 2))
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def block(self, name: str, x: Tensor) -> Tensor:
        y = self.conv(f"{name}.conv1", x, (1, 1))  # of x itself: the published code drops what bn1 gives
        y = self.conv(f"{name}.conv2", functional.selu(self.norm(f"{name}.bn2", y)), (0, 1))
        if f"{name}.conv_downsample.weight" in self.state:
            x = self.conv(f"{name}.conv_downsample", x, (0, 1))
        return functional.max_pool2d(y + x, (1, 3))

    def graph(self, name: str, x: Tensor) -> Tensor:
        weight = self.state[f"{name}.att_weight"][:, 0]
        rows = [torch.tanh(self.linear(f"{name}.att_proj", node * x)) @ weight for node in x]
        return self.joined(name, x, torch.stack(rows) / 2)

    def joined(self, name: str, x: Tensor, scores: Tensor) -> Tensor:
        attended = torch.exp(scores) / torch.exp(scores).sum(1, keepdim=True) @ x
        y = self.linear(f"{name}.proj_with_att", attended) + self.linear(f"{name}.proj_without_att", x)
        return functional.selu(self.norm(f"{name}.bn", y))

    def pool(self, name: str, x: Tensor, keep: float) -> Tensor:
        scores = 1 / (1 + torch.exp(-self.linear(f"{name}.proj", x)[:, 0]))
        best = sorted(range(len(x)), key=lambda node: -float(scores[node]))[: max(int(len(x) * keep), 1)]
        return torch.stack([x[node] * scores[node] for node in best])

    def mixed(self, name: str, t: Tensor, s: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.cat([self.linear(f"{name}.proj_type1", t), self.linear(f"{name}.proj_type2", s)])
        weight_m = self.state[f"{name}.att_weightM"][:, 0]
        heard = torch.softmax(torch.tanh(self.linear(f"{name}.att_projM", x * master)) @ weight_m / 100, 0) @ x
        scores = torch.empty(len(x), len(x)).double()
        for i in range(len(x)):
            for j in range(len(x)):
                kind = "11" if max(i, j) < len(t) else "22" if min(i, j) >= len(t) else "12"
                pair = torch.tanh(self.linear(f"{name}.att_proj", x[i] * x[j]))
                scores[i, j] = pair @ self.state[f"{name}.att_weight{kind}"][:, 0] / 100
        y = self.joined(name, x, scores)
        master = self.linear(f"{name}.proj_with_attM", heard) + self.linear(f"{name}.proj_without_attM", master)
        return y[: len(t)], y[len(t) :], master

    def branch(self, branch: str, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        master = self.state[f"master{branch}"][0]
        t, s, master = self.mixed(f"HtrgGAT_layer_ST{branch}1", t, s, master)
        t = self.pool(f"pool_hT{branch}", t, self.keep_mixed)
        s = self.pool(f"pool_hS{branch}", s, self.keep_mixed)
        t2, s2, master2 = self.mixed(f"HtrgGAT_layer_ST{branch}2", t, s, master)
        return t + t2, s + s2, master + master2


def parameters(tensors: dict[str, Tensor]) -> int:
    return sum(tensor.numel() for key, tensor in tensors.items() if "running" not in key and "num_batches" not in key)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> AasistDetector:
    return load(written(RECIPE, random_tensors("AASIST-L"), tmp_path_factory.mktemp("weights")))


@pytest.mark.parametrize("size", SIZES)
def test_a_random_checkpoint_scores_as_the_published_definition_says(size: str, tmp_path: Path) -> None:
    tensors, rows = random_tensors(size), sound(2, SHORT)
    scored = load(written(RECIPE, tensors, tmp_path)).encode(rows)
    assert np.abs(scored - Definition(size, tensors).outputs(rows)).max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
def test_the_published_file_scores_as_the_published_definition_says(size: str, tmp_path: Path) -> None:
    tensors = torch.load(published(f"{size}.pth"), map_location="cpu", weights_only=True)
    rows = sound(1, 2 * SHORT)
    scored = load(written(RECIPE, tensors, tmp_path)).encode(rows)
    assert np.abs(scored - Definition(size, tensors).outputs(rows)).max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
def test_the_published_file_has_the_published_keys_and_parameters(size: str) -> None:
    tensors = torch.load(published(f"{size}.pth"), map_location="cpu", weights_only=True)
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == published_shapes(size)
    assert parameters(tensors) == SIZES[size][3]


@pytest.mark.parametrize("size", SIZES)
def test_each_size_has_as_many_parameters_as_published(size: str) -> None:
    assert parameters(random_tensors(size)) == SIZES[size][3]


@pytest.mark.parametrize("key", ["pos_S", "HtrgGAT_layer_ST12.att_weightM", "encoder.1.0.bn1.weight"])
def test_a_renamed_missing_or_misshapen_key_is_named(key: str, tmp_path: Path) -> None:
    assert_strict(load, RECIPE, random_tensors("AASIST-L"), key, tmp_path)


def test_a_row_scores_the_same_alone_and_among_others(detector: AasistDetector) -> None:
    assert_batch_invariant(detector, sound(2, SHORT))


def test_a_row_scores_the_same_among_others_when_all_nodes_score_the_same(tmp_path: Path) -> None:
    tensors = random_tensors("AASIST-L")
    tied = {key: torch.full_like(tensors[key], 50) for key in tensors if key.endswith("proj.bias") and "pool" in key}
    assert len(tied) == 6
    assert_batch_invariant(load(written(RECIPE, tensors | tied, tmp_path)), sound(2, SHORT))


def test_of_equal_nodes_the_earlier_ones_are_kept() -> None:
    pool = Pool(2, 0.5)
    pool.load_state_dict({"proj.weight": torch.zeros(1, 2), "proj.bias": torch.zeros(1)})
    nodes = torch.arange(8.0).reshape(1, 4, 2)
    assert torch.equal(pool(nodes), nodes[:, :2] / 2)  # halved: the sigmoid of no evidence


def test_no_rows_give_no_features(detector: AasistDetector) -> None:
    assert detector.encode(sound(1, SHORT)[:0]).shape == (0, 2)


def test_the_second_output_speaks_for_real_sound(detector: AasistDetector) -> None:
    assert detector.decide(np.array([[-1, 2]], np.float32), np.zeros(1)).logit == -3


def test_a_sound_scores_the_mean_of_its_windows(detector: AasistDetector) -> None:
    assert detector.decide(np.array([[1, 0], [5, 0]], np.float32), np.array([0.0, 2.5])).logit == 3


def test_labels_of_a_row_that_say_the_opposite_turn_the_score(tmp_path: Path) -> None:
    turned = written(replace(RECIPE, labels=("real", "fake")), random_tensors("AASIST-L"), tmp_path)
    assert load(turned).decide(np.array([[-1, 2]], np.float32), np.zeros(1)).logit == 3


def test_labels_that_do_not_fit_two_outputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="2 outputs and 1 labels"):
        load(written(replace(RECIPE, labels=("fake",)), random_tensors("AASIST-L"), tmp_path))


def test_an_unknown_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="has no option temperature"):
        load(written(replace(RECIPE, options={"temperature": 2}), random_tensors("AASIST-L"), tmp_path))


@pytest.mark.parametrize(("shape", "channels"), [((1, 23, 48), 48), ((), 0)])
def test_an_encoder_of_unpublished_width_is_refused(shape: tuple[int, ...], channels: int, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"pos_S with {channels} channels"):
        load(written(RECIPE, random_tensors("AASIST-L") | {"pos_S": torch.zeros(shape)}, tmp_path))
