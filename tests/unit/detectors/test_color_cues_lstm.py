from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.detectors.color_cues_lstm import ColorCuesLstm, load
from models.detectors.contract import Recipe
from models.detectors.labels import logit_of_mean
from models.errors import CatalogueError, WeightsError
from models.types import View
from tests.checkpoints import assert_batch_invariant, assert_strict, written

VIEW = View("face", 32, margin=0.1, count=150, resample="nearest", align="landmarks", margin_px=20, minimum=32)
RECIPE = Recipe("color-cues", {}, VIEW, ("fake",))


def checkpoint(bins: int = 32, hidden: int = 64, inner: int = 32) -> dict[str, Tensor]:
    """Random weights under the published keys, small enough that no gate is shut."""
    torch.manual_seed(7)
    shapes = {
        "lstm.weight_ih_l0": (4 * hidden, bins * bins),
        "lstm.weight_hh_l0": (4 * hidden, hidden),
        "lstm.bias_ih_l0": (4 * hidden,),
        "lstm.bias_hh_l0": (4 * hidden,),
        "fc1.weight": (inner, hidden),
        "fc1.bias": (inner,),
        "fc2.weight": (1, inner),
        "fc2.bias": (1,),
    }
    scale = {"lstm.weight_ih_l0": 0.002}
    return {key: torch.randn(shape) * scale.get(key, 0.3) for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> ColorCuesLstm:
    return load(written(RECIPE, checkpoint(), tmp_path_factory.mktemp("weights")))


def crops(count: int) -> NDArray[np.uint8]:
    """Skin-like colours that drift."""
    noise = np.random.default_rng(11).normal(0, 25, (count, 32, 32, 3))
    tint = np.array([180, 130, 110]) + np.linspace(0, 40, count)[:, None, None, None] * [0, 1, -1]
    return np.clip(tint + noise, 0, 255).astype(np.uint8)


def published_histogram(crop: NDArray[np.uint8], bins: int = 32) -> NDArray[np.float64]:
    """Step by step as the published pipeline has it, from a blue-green-red crop."""
    blue, green, red = np.moveaxis(crop[..., ::-1].astype(np.float64) + 1e-6, -1, 0)
    total = red + green + blue
    counts, _, _ = np.histogram2d(
        (red / total).ravel(), (green / total).ravel(), bins=bins, range=[[0.0, 1.0], [0.0, 1.0]]
    )
    scaled: NDArray[np.float64] = (counts - counts.min()) / (counts.max() - counts.min()) * 255
    return scaled.ravel()


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x)))


def published_logit(window: NDArray[np.float64], state: dict[str, Tensor]) -> float:
    """The LSTM gate by gate, then the two layers."""
    w = {key: value.double().numpy() for key, value in state.items()}
    hidden = w["lstm.weight_hh_l0"].shape[1]
    h = c = np.zeros(hidden)
    for x in window:
        gates = w["lstm.weight_ih_l0"] @ x + w["lstm.bias_ih_l0"] + w["lstm.weight_hh_l0"] @ h + w["lstm.bias_hh_l0"]
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    inner = np.maximum(w["fc1.weight"] @ h + w["fc1.bias"], 0)
    return float((w["fc2.weight"] @ inner + w["fc2.bias"])[0])


@pytest.mark.parametrize("key", sorted(checkpoint()))
def test_a_renamed_missing_misshapen_or_surplus_key_is_named(key: str, tmp_path: Path) -> None:
    assert_strict(load, RECIPE, checkpoint(), key, tmp_path)


def test_histograms_are_numpys_of_red_and_green_shares(detector: ColorCuesLstm) -> None:
    rows = crops(5)
    expected = np.stack([published_histogram(row) for row in rows])
    assert np.allclose(detector.encode(rows), expected, atol=1e-4)


@pytest.mark.parametrize(
    "colour",
    [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (100, 60, 40), (8, 16, 8), (9, 9, 6)],
)
def test_colours_on_the_edge_of_a_bin_fall_on_numpys_side(
    detector: ColorCuesLstm, colour: tuple[int, int, int]
) -> None:
    row = np.full((1, 32, 32, 3), colour, np.uint8)
    assert np.array_equal(detector.encode(row)[0], published_histogram(row[0]).astype(np.float32))


def test_red_is_the_slower_axis(detector: ColorCuesLstm) -> None:
    orange = np.full((1, 32, 32, 3), (156, 60, 30), np.uint8)  # r = 0.634, g = 0.244
    assert detector.encode(orange)[0].argmax() == 20 * 32 + 7


def test_the_score_is_the_published_mean_over_windows(detector: ColorCuesLstm) -> None:
    rows = crops(35)
    histograms = np.stack([published_histogram(row) for row in rows])
    logits = np.array([published_logit(histograms[i : i + 32], checkpoint()) for i in range(4)])
    score = detector.decide(detector.encode(rows), np.arange(35.0))
    assert score.per_window_logits == pytest.approx(logits, abs=1e-4)
    assert sigmoid(np.array(score.logit)) == pytest.approx(sigmoid(logits).mean(), abs=1e-5)


def test_windows_are_different_from_one_another(detector: ColorCuesLstm) -> None:
    logits = detector.decide(detector.encode(crops(60)), np.arange(60.0)).per_window_logits
    assert np.ptp(logits) > 0.01


def test_each_window_has_its_stretch_of_time(detector: ColorCuesLstm) -> None:
    score = detector.decide(detector.encode(crops(34)), np.arange(34.0) / 2)
    assert score.windows_s == ((0.0, 15.5), (0.5, 16.0), (1.0, 16.5))
    assert len(score.per_window_logits) == 3
    assert score.per_frame_logits == ()


def test_a_network_of_real_turns_the_score(detector: ColorCuesLstm, tmp_path: Path) -> None:
    turned = load(written(replace(RECIPE, labels=("real",)), checkpoint(), tmp_path))
    features = detector.encode(crops(40))
    fake, real = (d.decide(features, np.arange(40.0)).logit for d in (detector, turned))
    assert real == pytest.approx(-fake, abs=1e-6)


def test_a_clip_scores_the_same_in_any_batch(detector: ColorCuesLstm) -> None:
    assert_batch_invariant(detector, crops(40))


def test_a_clip_shorter_than_the_window_is_an_error_not_a_score(detector: ColorCuesLstm) -> None:
    with pytest.raises(ValueError, match="31 frames are less than the window of 32"):
        detector.decide(detector.encode(crops(31)), np.arange(31.0))


def test_a_view_that_lets_shorter_clips_through_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"view\.minimum is 31, less than the window of 32"):
        load(written(replace(RECIPE, view=replace(VIEW, minimum=31)), checkpoint(), tmp_path))


def test_sizes_and_window_are_those_of_the_checkpoint_and_the_row(tmp_path: Path) -> None:
    recipe = replace(RECIPE, options={"window": 8}, view=replace(VIEW, minimum=8))
    small = load(written(recipe, checkpoint(bins=16, hidden=12, inner=5), tmp_path))
    assert small.encode(crops(9)).shape == (9, 256)
    assert len(small.decide(small.encode(crops(9)), np.arange(9.0)).per_window_logits) == 2


@pytest.mark.parametrize("options", [{"bins": 32}, {"window": 0}, {"window": "32"}, {"window": 151}])
def test_an_option_that_is_unknown_or_wrong_is_named(options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=next(iter(options))):
        load(written(replace(RECIPE, options=options), checkpoint(), tmp_path))


def test_labels_that_do_not_fit_one_output_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="1 outputs and 2 labels"):
        load(written(replace(RECIPE, labels=("real", "fake")), checkpoint(), tmp_path))


def test_a_histogram_that_is_not_square_is_refused(tmp_path: Path) -> None:
    state = checkpoint() | {"lstm.weight_ih_l0": torch.zeros(256, 1000)}
    with pytest.raises(WeightsError, match=r"lstm\.weight_ih_l0 for 1000 inputs"):
        load(written(RECIPE, state, tmp_path))


def test_the_mean_of_probabilities_holds_where_they_are_almost_certain() -> None:
    assert logit_of_mean(np.array([60.0, 60.0])) == pytest.approx(60)
    assert logit_of_mean(np.array([-800.0, 800.0])) == pytest.approx(0)
