from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from models.detectors.clip_linear import load
from models.detectors.contract import Recipe
from models.errors import CatalogueError, WeightsError
from models.types import View
from tests import clip_checkpoints as clip
from tests.checkpoints import assert_batch_invariant, assert_strict, plant_attention, published, written

UNIVFD = Recipe("univfd", {}, View(region="frame", size=clip.SIDE, fit="centre"), labels=("fake",))
GEND = Recipe("gend", {}, View(region="face", size=clip.SIDE, align="five_points"), labels=("real", "fake"))


def head(outputs: int, width: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(9)
    return {"weight": torch.randn(outputs, width, generator=random), "bias": torch.randn(outputs, generator=random)}


def gend_state() -> dict[str, Tensor]:
    """As `save_pretrained` of the published class writes it."""
    tower = clip.transformers_state(clip.openai_state())
    return {f"feature_extractor.{key}": tensor for key, tensor in tower.items()} | {
        f"model.linear.{key}": tensor for key, tensor in head(2, clip.WIDTH).items()
    }


@pytest.fixture
def univfd(tmp_path: Path) -> Recipe:
    """A UnivFD head beside a CLIP whose projection is as wide as ViT-L/14's."""
    encoder = tmp_path / "encoder.safetensors"
    tower = clip.transformers_state(clip.openai_state())
    save_file({key: tensor.contiguous() for key, tensor in tower.items()}, encoder)
    return written(replace(UNIVFD, files={"encoder": encoder}), head(1, clip.PROJECTION), tmp_path)


@pytest.fixture
def gend(tmp_path: Path) -> Recipe:
    return written(GEND, gend_state(), tmp_path)


def frame_logits(recipe: Recipe, count: int = 3) -> tuple[float, ...]:
    detector = load(recipe)
    return detector.decide(detector.encode(clip.pictures(count)), np.arange(float(count))).per_frame_logits


def test_the_published_univfd_head_scores_as_published(univfd: Recipe, tmp_path: Path) -> None:
    fc = torch.load(published("universalfakedetect_fc_weights.pth"), map_location="cpu", weights_only=True)
    features = clip.projected(clip.openai_state(), clip.pictures(3)).numpy()
    expected = features @ fc["weight"].double().numpy().T + fc["bias"].double().numpy()
    assert np.allclose(frame_logits(written(univfd, fc, tmp_path)), expected[:, 0], atol=1e-5)


def test_gend_scores_the_feature_of_unit_length_before_projection(gend: Recipe) -> None:
    features = functional.normalize(clip.pooled(clip.openai_state(), clip.pictures(3)), dim=1)
    weights = head(2, clip.WIDTH)
    real, fake = (features @ weights["weight"].double().T + weights["bias"].double()).unbind(1)
    assert np.allclose(frame_logits(gend), (fake - real).numpy(), atol=1e-5)


def test_a_univfd_encoder_may_have_openais_names(univfd: Recipe, tmp_path: Path) -> None:
    encoder = tmp_path / "openai.safetensors"
    save_file(clip.openai_state() | clip.openai_text_state(), encoder)
    renamed = replace(univfd, files={**univfd.files, "encoder": encoder})
    assert np.allclose(frame_logits(renamed), frame_logits(univfd), atol=1e-5)


@pytest.mark.parametrize("key", ["weight", "bias"])
def test_a_broken_key_of_the_univfd_head_is_refused_by_name(univfd: Recipe, tmp_path: Path, key: str) -> None:
    assert_strict(load, univfd, head(1, clip.PROJECTION), key, tmp_path)


@pytest.mark.parametrize(
    "key",
    [
        "model.linear.weight",
        "model.linear.bias",
        "feature_extractor.visual_projection.weight",
        "feature_extractor.vision_model.encoder.layers.0.layer_norm1.weight",
    ],
)
def test_a_broken_key_of_gend_is_refused_by_name(tmp_path: Path, key: str) -> None:
    assert_strict(load, GEND, gend_state(), key, tmp_path)


def test_an_encoder_with_a_key_too_many_is_refused(univfd: Recipe, tmp_path: Path) -> None:
    encoder = tmp_path / "more.safetensors"
    save_file(clip.openai_state() | {"left.over": torch.ones(1)}, encoder)
    with pytest.raises(WeightsError, match=r"more\.safetensors has the unexpected key left\.over"):
        load(replace(univfd, files={**univfd.files, "encoder": encoder}))


def test_a_univfd_head_without_its_encoder_is_refused(univfd: Recipe) -> None:
    with pytest.raises(CatalogueError, match="needs an `encoder`"):
        load(replace(univfd, files={"weights": univfd.weights}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"options": {"temperature": 2}}, "no option temperature"),
        ({"view": View(region="frame", size=224)}, r"of size 224\. It must be 56"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(gend: Recipe, change: dict[str, Any], named: str) -> None:
    with pytest.raises(CatalogueError, match=named):
        load(replace(gend, **change))


@pytest.mark.parametrize("labels", [(), ("fake",), ("fake", "fake"), ("real", "fake", "fake")])
def test_labels_that_do_not_fit_the_head_are_refused(gend: Recipe, labels: Any) -> None:
    with pytest.raises(WeightsError, match=r"label|model\.linear\.weight as \(2, 128\)"):
        load(replace(gend, labels=labels))


def test_the_other_label_order_turns_the_score_round(gend: Recipe) -> None:
    assert frame_logits(replace(gend, labels=("fake", "real"))) == tuple(-v for v in frame_logits(gend))


def test_the_clip_is_the_mean_of_its_frames(gend: Recipe) -> None:
    detector = load(gend)
    score = detector.decide(detector.encode(clip.pictures(3)), np.array([0.0, 0.5, 1.5]))
    assert score.logit == pytest.approx(sum(score.per_frame_logits) / 3)
    assert score.times_s == (0.0, 0.5, 1.5)


@pytest.mark.parametrize("system", ["univfd", "gend"])
def test_the_batch_does_not_change_the_score(system: str, request: pytest.FixtureRequest) -> None:
    assert_batch_invariant(load(request.getfixturevalue(system)), clip.pictures(5))


def test_the_map_is_where_clip_attends(gend: Recipe) -> None:
    detector = load(gend)
    quarter = torch.zeros(4, 4, dtype=torch.bool)
    quarter[2:, 2:] = True
    plant_attention(detector._tower.clip.vision_model, quarter.flatten())
    saliency = detector.saliency(clip.pictures(2))
    assert saliency is not None
    assert (saliency.method, saliency.maps.shape) == ("attention_rollout", (2, 4, 4))
    assert saliency.maps[:, quarter.numpy()].min() > 0.99
    assert saliency.maps[:, ~quarter.numpy()].max() < 0.01
