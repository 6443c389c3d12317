"""Saliency is about the network: on networks of which it is known where they look, the map is there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.detectors.contract import Recipe, Saliency
from models.detectors.labels import fake_logits
from models.detectors.mobilenet_sbi import load
from models.detectors.saliency import (
    attentive,
    fake_logit,
    first_token,
    grad_cam,
    mean_of_patches,
    rollout,
)
from models.detectors.store import ROOT
from models.extraction import Extractor
from models.media.limits import Limits
from models.types import Class, View

VIEW = View(region="face", size=160, fit="squash", margin=0.3, count=16)


def quadrant(head: Tensor) -> Saliency:
    """Grad-CAM of a network whose logit is a weighted sum of the mean of channel 0 in each quarter of the picture."""
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    see = nn.Conv2d(3, 4, 1)

    def judge(seen: Tensor) -> Tensor:
        quarters = nn.functional.adaptive_avg_pool2d(seen[:, :1], 2).flatten(1)
        return quarters @ head

    with torch.no_grad():
        see.weight.fill_(1.0)
        assert see.bias is not None
        see.bias.zero_()
        pixels[:, :, 8:, 8:] *= 3  # what the network is asked about stands out in the lower right
    return grad_cam(pixels, see, judge)


def test_grad_cam_peaks_where_the_logit_comes_from() -> None:
    saliency = quadrant(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    assert saliency.maps.shape == (2, 16, 16)
    assert saliency.maps.max(axis=(1, 2)).tolist() == [1.0, 1.0]
    for found in saliency.maps:
        assert min(divmod(int(found.argmax()), 16)) >= 8
        assert found[8:, 8:].mean() > 2 * found[:8, :8].mean()


def test_grad_cam_is_empty_where_all_activations_lower_the_logit() -> None:
    saliency = quadrant(torch.tensor([0.0, 0.0, 0.0, -1.0]))
    assert saliency.maps.max() == 0
    assert np.isfinite(saliency.maps).all()


def test_grad_cam_leaves_no_gradients_behind() -> None:
    net = nn.Conv2d(3, 4, 1).requires_grad_(requires_grad=False)
    grad_cam(torch.rand(1, 3, 8, 8), net, lambda seen: seen.mean(dim=(1, 2, 3)))
    assert all(parameter.grad is None for parameter in net.parameters())


def attention(length: int, to: int) -> Tensor:
    """Every token attends to one alone."""
    weights = torch.zeros(1, 2, length, length)
    weights[..., to] = 1
    return weights


def test_rollout_follows_attention_through_the_layers() -> None:
    first = attention(17, to=7)  # the patch in row 1, column 2, after the class token
    second = attention(17, to=0)
    saliency = rollout([first, second], first_token(17, torch.device("cpu")))
    assert saliency is not None
    expected = np.zeros((4, 4))
    expected[1, 2] = 1
    assert saliency.maps[0] == pytest.approx(expected)


def test_rollout_without_a_class_token_starts_from_all_patches() -> None:
    saliency = rollout([attention(16, to=15)], mean_of_patches(16, torch.device("cpu")))
    assert saliency is not None
    assert divmod(int(saliency.maps[0].argmax()), 4) == (3, 3)


def test_what_has_no_square_of_attentions_has_no_rollout() -> None:
    readout = first_token(17, torch.device("cpu"))
    assert rollout([], readout) is None
    assert rollout([attention(17, 0), attention(5, 0)], readout) is None


@pytest.mark.parametrize("labels", [("fake",), ("real",), ("real", "fake"), ("fake", "real", "fake")])
def test_the_logit_that_is_followed_back_is_the_one_that_is_scored(labels: tuple[Class, ...]) -> None:
    outputs = torch.randn(5, len(labels), generator=torch.Generator().manual_seed(1))
    assert fake_logit(outputs, labels).numpy() == pytest.approx(fake_logits(outputs.numpy(), labels), abs=1e-5)


def test_a_twin_shares_the_weights() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    twin: Any = attentive(net)
    assert twin is not net
    assert [t.data_ptr() for t in twin.state_dict().values()] == [t.data_ptr() for t in net.state_dict().values()]


@pytest.fixture(scope="module")
def forged_crops() -> NDArray[np.uint8]:
    media = np.frombuffer((ROOT / "assets/sample_forged.mp4").read_bytes(), np.uint8)
    _, clips = Extractor(Limits()).extract(media, "00", [VIEW])
    return np.asarray(clips[VIEW][0].data, np.uint8)


def test_hiding_what_the_bundled_detector_looks_at_lowers_its_score_more_than_hiding_the_rest(
    forged_crops: NDArray[np.uint8],
) -> None:
    weights: Path = ROOT / "models/weights/mobilenet-sbi-v1.safetensors"
    detector = load(Recipe("mobilenet-sbi", {"weights": weights}, VIEW))
    maps = detector.saliency(forged_crops).maps.repeat(16, axis=1).repeat(16, axis=2)

    def mean_logit(crops: NDArray[np.uint8]) -> float:
        score = detector.decide(detector.encode(crops), np.arange(len(crops), dtype=np.float64))
        return float(np.mean(score.per_frame_logits))

    def hidden(share: slice) -> NDArray[np.uint8]:
        """The crops with a quarter of their places in the colour they have on average."""
        covered = forged_crops.copy()
        for crop, saliency in zip(covered, maps, strict=True):
            places = np.argsort(saliency.ravel(), kind="stable")[share]
            crop.reshape(-1, 3)[places] = crop.mean(axis=(0, 1)).astype(np.uint8)
        return covered

    quarter = maps[0].size // 4
    most, least = mean_logit(hidden(slice(-quarter, None))), mean_logit(hidden(slice(0, quarter)))
    assert most < least - 0.5
    assert most < mean_logit(forged_crops)
