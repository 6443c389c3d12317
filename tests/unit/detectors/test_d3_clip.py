import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from models.detectors import d3_clip
from models.detectors.contract import Recipe
from models.detectors.d3_clip import load, patch_order, shuffled
from models.errors import CatalogueError, WeightsError
from models.types import View
from tests import clip_checkpoints as clip
from tests.checkpoints import assert_batch_invariant, assert_strict, written

RECIPE = Recipe("d3", {}, View(region="frame", size=clip.SIDE, fit="squash"), labels=("fake",))
SIDE_PATCHES = clip.SIDE // clip.PATCH


def head(outputs: int = 1) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(8)
    shapes = dict.fromkeys(("query", "key", "value"), (clip.WIDTH, clip.WIDTH)) | {"fc": (outputs, 2 * clip.WIDTH)}
    return {
        f"{part}.{leaf}": torch.randn(shape if leaf == "weight" else shape[:1], generator=random) / 8
        for part, shape in shapes.items()
        for leaf in ("weight", "bias")
    }


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: tensor for key, tensor in tensors.items()}


BARE = head()
NAMED = under("attention_head.", head())
WHOLE = under("model.", clip.openai_state() | clip.openai_text_state()) | NAMED
FORMS = {
    "head": BARE,
    "attention_head": NAMED,
    "whole": WHOLE,
    "module head": under("module.", BARE),
    "module attention_head": under("module.", NAMED),
    "module whole": under("module.", WHOLE),
    "nested attention_head": under("model.", NAMED),
    "nested whole": under("model.", WHOLE),
}


@pytest.fixture
def beside(tmp_path: Path) -> Recipe:
    """A row with an encoder, still without its weights."""
    encoder = tmp_path / "encoder.safetensors"
    save_file({key: value.contiguous() for key, value in clip.transformers_state(clip.openai_state()).items()}, encoder)
    return replace(RECIPE, files={"encoder": encoder})


def shuffled_by_hand(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The patches cut out one by one, and laid down in the recorded order."""
    result = np.empty_like(pictures)
    for place, patch in enumerate(patch_order(SIDE_PATCHES**2)):
        (y, x), (from_y, from_x) = (np.array(divmod(n, SIDE_PATCHES)) * clip.PATCH for n in (place, patch))
        cut = pictures[:, from_y : from_y + clip.PATCH, from_x : from_x + clip.PATCH]
        result[:, y : y + clip.PATCH, x : x + clip.PATCH] = cut
    return result


def outputs_by_hand(weights: dict[str, Tensor], pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The published definition in numpy, one picture at a time."""
    w = {key: tensor.double().numpy() for key, tensor in weights.items()}
    halves = [clip.pooled(clip.openai_state(), rows).numpy() for rows in (shuffled_by_hand(pictures), pictures)]
    results = []
    for pair in np.stack(halves, axis=1):
        query, key, value = (pair @ w[f"{part}.weight"].T + w[f"{part}.bias"] for part in ("query", "key", "value"))
        scores = np.exp(query @ key.T / np.sqrt(clip.WIDTH))
        attended = scores / scores.sum(axis=0) @ value  # each key's weights over the queries add up to 1
        results.append(attended.reshape(-1) @ w["fc.weight"].T + w["fc.bias"])
    return np.array(results)


def frame_logits(recipe: Recipe, count: int = 3) -> tuple[float, ...]:
    detector = load(recipe)
    return detector.decide(detector.encode(clip.pictures(count)), np.arange(float(count))).per_frame_logits


@pytest.mark.parametrize("count", [1, 16, 256, 576])
def test_the_order_moves_every_patch_to_one_place(count: int) -> None:
    assert sorted(patch_order(count)) == list(range(count))


def test_the_order_of_256_patches_is_the_one_on_record() -> None:
    digest = hashlib.sha256(",".join(map(str, patch_order(256))).encode()).hexdigest()
    assert digest == "3dfb1f57e30dc557df67ef8536c1e18a4e66a2202fb15b4b939509e9d681c701"
    assert digest in str(d3_clip.__doc__)


def test_shuffling_in_the_net_is_shuffling_patches_one_by_one() -> None:
    rows = clip.pictures(2)
    order = torch.tensor(patch_order(SIDE_PATCHES**2))
    assert np.array_equal(shuffled(torch.tensor(rows), clip.PATCH, order).numpy(), shuffled_by_hand(rows))


@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_scores_as_published(beside: Recipe, tmp_path: Path, form: str) -> None:
    expected = outputs_by_hand(head(), clip.pictures(3))[:, 0]
    assert np.allclose(frame_logits(written(beside, FORMS[form], tmp_path)), expected, atol=1e-5)


def test_two_outputs_are_real_and_fake(beside: Recipe, tmp_path: Path) -> None:
    recipe = replace(written(beside, head(2), tmp_path), labels=("real", "fake"))
    outputs = outputs_by_hand(head(2), clip.pictures(3))
    assert np.allclose(frame_logits(recipe), outputs[:, 1] - outputs[:, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("form", "key"),
    [
        ("head", "query.weight"),
        ("head", "fc.bias"),
        ("attention_head", "attention_head.value.weight"),
        ("whole", "attention_head.fc.weight"),
        ("whole", "model.visual.ln_post.weight"),
        ("whole", "model.visual.transformer.resblocks.1.attn.in_proj_weight"),
        ("module head", "module.key.bias"),
        ("module whole", "module.model.visual.conv1.weight"),
    ],
)
def test_a_broken_key_is_refused_by_its_published_name(beside: Recipe, tmp_path: Path, form: str, key: str) -> None:
    assert_strict(load, beside, FORMS[form], key, tmp_path)


def test_a_clip_in_the_same_file_goes_before_the_encoder(beside: Recipe, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file(clip.openai_state(seed=2), other)
    whole = written(replace(beside, files={"encoder": other}), WHOLE, tmp_path)
    assert frame_logits(whole) == frame_logits(replace(whole, files={"weights": whole.weights}))


def test_a_head_without_its_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="needs an `encoder`"):
        load(written(RECIPE, BARE, tmp_path))


def test_a_file_without_the_head_is_refused(beside: Recipe, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"lacks the key query\.weight"):
        load(written(beside, under("model.", clip.openai_state()), tmp_path))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"options": {"seed": 418}}, "no option seed"),
        ({"view": View(region="frame", size=224)}, r"of size 224\. It must be 56"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(beside: Recipe, tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(CatalogueError, match=named):
        load(replace(written(beside, BARE, tmp_path), **change))


def test_the_clip_is_the_mean_of_its_frames(beside: Recipe, tmp_path: Path) -> None:
    detector = load(written(beside, BARE, tmp_path))
    score = detector.decide(detector.encode(clip.pictures(3)), np.array([0.0, 0.5, 1.5]))
    assert score.logit == pytest.approx(sum(score.per_frame_logits) / 3)
    assert score.times_s == (0.0, 0.5, 1.5)


def test_the_batch_does_not_change_the_score(beside: Recipe, tmp_path: Path) -> None:
    assert_batch_invariant(load(written(beside, BARE, tmp_path)), clip.pictures(5))
