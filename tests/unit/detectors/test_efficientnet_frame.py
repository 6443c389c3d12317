"""The EfficientNet of timm, against the same network written here as functions over its state dict."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.detectors.contract import Recipe
from models.detectors.efficientnet_frame import EfficientNetFrame, FrameNet, load
from models.errors import CatalogueError, WeightsError
from models.types import Class, View
from tests.checkpoints import assert_batch_invariant, assert_strict, written

VIEW = View(region="face", size=224, margin=0.3, count=30, resample="lanczos", minimum=10)
RECIPE = Recipe("deepsafe", {}, VIEW, labels=("real", "fake"))
SMALL = replace(RECIPE, view=View(region="face", size=64), options={"variant": "b0"})
# timm's efficientnet_b4 without its classifier.
B4_PARAMETERS = 17_548_616
B4_BLOCKS = (2, 4, 4, 6, 6, 8, 2)
B0_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
B4_SHAPES = {
    "conv_stem.weight": (48, 3, 3, 3),
    "blocks.0.0.conv_pw.weight": (24, 48, 1, 1),
    "blocks.0.1.se.conv_reduce.weight": (6, 24, 1, 1),
    "blocks.1.0.se.conv_reduce.weight": (6, 144, 1, 1),
    "blocks.2.0.conv_dw.weight": (192, 1, 5, 5),
    "blocks.3.5.bn3.running_var": (112,),
    "blocks.4.0.conv_pwl.weight": (160, 672, 1, 1),
    "blocks.5.7.se.conv_expand.bias": (1632,),
    "blocks.6.1.conv_pw.weight": (2688, 448, 1, 1),
    "conv_head.weight": (1792, 448, 1, 1),
}
CLASSIFIER_SHAPES = {"classifier.1.weight": (512, 1792), "classifier.4.weight": (256, 512), "classifier.6.bias": (2,)}


def faces(count: int, size: int) -> NDArray[np.uint8]:
    """Coarse blobs, `(count, size, size, 3)`."""
    return (
        np.random.default_rng(17).integers(0, 256, (count, 4, 4, 3), np.uint8).repeat(size // 4, 1).repeat(size // 4, 2)
    )


def normalised(rows: NDArray[np.uint8]) -> Tensor:
    """Rows as torchvision's `ToTensor` and `Normalize` give them, in double precision."""
    mean, std = (torch.tensor(v).double() for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return ((torch.from_numpy(rows).double() / 255 - mean) / std).permute(0, 3, 1, 2)


def random_state(variant: str, size: int) -> dict[str, Tensor]:
    """A checkpoint in the published key form, whose batch norms have seen faces: else no signal reaches the head."""
    torch.manual_seed(13)
    net = FrameNet(variant)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    with torch.no_grad():
        net.train()(normalised(faces(4, size)).float())
    return net.state_dict()


class Functions:
    """The network from its tensors alone: what is strided, expanded or squeezed is read off their shapes."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = {key: tensor.double() for key, tensor in state.items()}

    def conv(self, x: Tensor, key: str, stride: int = 1) -> Tensor:
        weight = self.state[f"{key}.weight"]
        groups = x.shape[1] // weight.shape[1]
        bias = self.state.get(f"{key}.bias")
        return functional.conv2d(x, weight, bias, stride, weight.shape[2] // 2, groups=groups)

    def norm(self, x: Tensor, key: str) -> Tensor:
        weight, bias, mean, variance = (
            self.state[f"{key}.{name}"].view(1, -1, 1, 1) for name in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias

    def swish(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    def excite(self, x: Tensor, key: str) -> Tensor:
        mean = x.flatten(2).mean(2)[..., None, None]
        return x * torch.sigmoid(self.conv(self.swish(self.conv(mean, f"{key}.conv_reduce")), f"{key}.conv_expand"))

    def block(self, x: Tensor, key: str, stride: int) -> Tensor:
        if f"{key}.conv_pwl.weight" in self.state:
            y = self.swish(self.norm(self.conv(x, f"{key}.conv_pw"), f"{key}.bn1"))
            y = self.swish(self.norm(self.conv(y, f"{key}.conv_dw", stride), f"{key}.bn2"))
            y = self.norm(self.conv(self.excite(y, f"{key}.se"), f"{key}.conv_pwl"), f"{key}.bn3")
        else:
            y = self.swish(self.norm(self.conv(x, f"{key}.conv_dw", stride), f"{key}.bn1"))
            y = self.norm(self.conv(self.excite(y, f"{key}.se"), f"{key}.conv_pw"), f"{key}.bn2")
        return x + y if x.shape == y.shape else y

    def linear(self, x: Tensor, key: str) -> Tensor:
        return x @ self.state[f"{key}.weight"].T + self.state[f"{key}.bias"]

    def logits(self, x: Tensor, blocks: tuple[int, ...]) -> NDArray[np.float64]:
        x = self.swish(self.norm(self.conv(x, "backbone.conv_stem", 2), "backbone.bn1"))
        for stage, (count, stride) in enumerate(zip(blocks, STRIDES, strict=True)):
            for number in range(count):
                x = self.block(x, f"backbone.blocks.{stage}.{number}", 1 if number else stride)
        x = self.swish(self.norm(self.conv(x, "backbone.conv_head"), "backbone.bn2")).flatten(2).mean(2)
        x = self.linear(x, "classifier.1").clamp(min=0)
        x = self.linear(x, "classifier.4").clamp(min=0)
        logits: NDArray[np.float64] = self.linear(x, "classifier.6").numpy()
        return logits


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> EfficientNetFrame:
    return load(written(SMALL, random_state("b0", 64), tmp_path_factory.mktemp("efficientnet")))


def test_b4_has_the_parameters_of_timm() -> None:
    net = FrameNet("b4")
    assert sum(parameter.numel() for parameter in net.backbone.parameters()) == B4_PARAMETERS


def test_b4_has_the_keys_and_shapes_of_timm_and_of_the_published_classifier() -> None:
    state = FrameNet("b4").state_dict()
    expected = {f"backbone.{key}": shape for key, shape in B4_SHAPES.items()} | CLASSIFIER_SHAPES
    assert {key: tuple(state[key].shape) for key in expected} == expected
    assert sum(key.startswith("backbone.") for key in state) == 704


def test_b4_gives_what_its_definition_gives() -> None:
    state, x = random_state("b4", 96), normalised(faces(4, 96))
    net = FrameNet("b4")
    net.load_state_dict(state)
    expected = Functions(state).logits(x, B4_BLOCKS)
    assert np.ptp(expected, axis=0).min() > 0.01  # the pictures do differ to it
    assert net.double().eval()(x).detach().numpy() == pytest.approx(expected, abs=1e-9)


def test_the_detector_gives_what_the_definition_of_b0_gives(detector: EfficientNetFrame) -> None:
    expected = Functions(random_state("b0", 64)).logits(normalised(faces(4, 64)), B0_BLOCKS)
    assert np.ptp(expected, axis=0).min() > 0.01
    assert detector.encode(faces(4, 64)) == pytest.approx(expected, abs=1e-5)


def test_b4_scores_views_of_its_row(tmp_path: Path) -> None:
    detector = load(written(RECIPE, random_state("b4", 64), tmp_path))
    assert detector.encode(faces(1, 224)).shape == (1, 2)


@pytest.mark.parametrize("key", ["backbone.blocks.1.0.se.conv_reduce.weight", "classifier.4.bias"])
def test_a_key_renamed_missing_misshapen_or_left_over_is_refused_by_name(key: str, tmp_path: Path) -> None:
    assert_strict(load, SMALL, random_state("b0", 64), key, tmp_path)


def test_a_clip_scores_the_same_in_every_batch(detector: EfficientNetFrame) -> None:
    assert_batch_invariant(detector, faces(4, 64))


def test_the_second_output_is_fake_and_frames_are_averaged_as_probabilities(detector: EfficientNetFrame) -> None:
    score = detector.decide(np.array([[0.0, 3.0], [1.0, 0.0]], np.float32), np.array([0.0, 0.5]))
    assert score.per_frame_logits == pytest.approx((3.0, -1.0))
    mean = (1 / (1 + np.exp(-3)) + 1 / (1 + np.exp(1))) / 2
    assert 1 / (1 + np.exp(-score.logit)) == pytest.approx(mean)


def test_a_row_whose_labels_are_not_two_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="2 outputs and 1 labels"):
        load(written(replace(SMALL, labels=("fake",)), random_state("b0", 64), tmp_path))


@pytest.mark.parametrize(
    ("options", "named"),
    [({"width": 1.4}, "option width"), ({"variant": "b9"}, "variant b9"), ({"variant": ["b4"]}, "no variant")],
)
def test_an_option_or_variant_that_there_is_not_is_refused_by_name(options: dict[str, object], named: str) -> None:
    with pytest.raises(CatalogueError, match=named):
        load(replace(RECIPE, options=options))


def test_a_map_turns_around_with_the_labels(tmp_path: Path) -> None:
    recipe = written(SMALL, random_state("b0", 64), tmp_path)
    orders: tuple[tuple[Class, ...], ...] = (("real", "fake"), ("fake", "real"))
    maps = [load(replace(recipe, labels=order)).saliency(faces(2, 64)).maps for order in orders]
    assert [found.shape for found in maps] == [(2, 4, 4)] * 2
    assert not np.any((maps[0] > 0) & (maps[1] > 0))
    assert np.any(maps[0] > 0) or np.any(maps[1] > 0)
