import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.models.auto.modeling_auto import AutoModelForImageClassification
from transformers.models.convnext import ConvNextConfig, ConvNextForImageClassification
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.resnet import ResNetConfig, ResNetForImageClassification
from transformers.models.siglip import SiglipConfig, SiglipForImageClassification
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.swin import SwinConfig, SwinForImageClassification
from transformers.models.vit import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from models.detectors.contract import Recipe
from models.detectors.hf_image_classifier import HfImageClassifier, load
from models.errors import CatalogueError, WeightsError
from models.types import Resample, View
from tests.checkpoints import assert_batch_invariant, assert_strict, plant_attention

SIZE = 32
SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
TOWER: dict[str, Any] = {**SMALL, "image_size": SIZE, "patch_size": 8}


def vit(**config: Any) -> Any:
    return ViTForImageClassification(ViTConfig(**TOWER, **config))


def swin(**config: Any) -> Any:
    return SwinForImageClassification(
        SwinConfig(image_size=SIZE, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4, **config)
    )


def siglip(**config: Any) -> Any:
    text = {**SMALL, "vocab_size": 50000}
    return SiglipForImageClassification(SiglipConfig(vision_config=TOWER, text_config=text, **config))


def convnext(**config: Any) -> Any:
    return ConvNextForImageClassification(ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], **config))


def resnet(**config: Any) -> Any:  # its batch norms carry counters
    return ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic", **config)
    )


BUILDERS = {"vit": vit, "swin": swin, "siglip": siglip, "convnext": convnext, "resnet": resnet}
FAKE_REAL = {"id2label": {0: "Fake", 1: "Real"}, "label2id": {"Fake": 0, "Real": 1}}


def saved(folder: Path, build: Callable[..., Any] = vit, processor: Any = None, **config: Any) -> Recipe:
    """A published folder, written by transformers itself, and the row that names its files."""
    torch.manual_seed(2)
    build(**(config or FAKE_REAL)).save_pretrained(folder)
    (processor or ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})).save_pretrained(folder)
    files = {
        "weights": folder / "model.safetensors",
        "config": folder / "config.json",
        "preprocessor": folder / "preprocessor_config.json",
    }
    return Recipe("hf", files, View(region="frame", size=SIZE, resample="bilinear"))


def rewritten(recipe: Recipe, file: str, **changes: Any) -> Recipe:
    """The recipe with keys of one of its JSON files changed, or left out where None."""
    content = json.loads(recipe.files[file].read_text()) | changes
    recipe.files[file].write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return recipe


def frames(count: int, size: int = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(4).integers(0, 256, (count, size, size, 3), np.uint8)


def scores(detector: HfImageClassifier, clip: NDArray[np.uint8]) -> tuple[float, ...]:
    return detector.decide(detector.encode(clip), np.arange(len(clip), dtype=np.float64)).per_frame_logits


@torch.inference_mode()
def published_logits(recipe: Recipe, processor: Any, clip: NDArray[np.uint8]) -> NDArray[np.float32]:
    net = AutoModelForImageClassification.from_pretrained(recipe.weights.parent).eval()
    pixels = processor(images=[Image.fromarray(frame) for frame in clip], return_tensors="pt")["pixel_values"]
    logits: NDArray[np.float32] = net(pixels).logits.numpy()
    return logits


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_logits_agree_with_from_pretrained_and_its_processor(build: Callable[..., Any], tmp_path: Path) -> None:
    processor = ViTImageProcessorPil(
        size={"height": SIZE, "width": SIZE}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.25]
    )
    recipe = saved(tmp_path, build, processor)
    expected = published_logits(recipe, processor, frames(3))
    assert np.ptp(expected) > 1e-3
    assert np.abs(load(recipe).encode(frames(3)) - expected).max() < 1e-5


def test_a_siglip_processor_that_resizes_bicubically_fits_a_bicubic_view(tmp_path: Path) -> None:
    processor = SiglipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    recipe = saved(tmp_path, siglip, processor)
    recipe = replace(recipe, view=replace(recipe.view, resample="bicubic"))
    expected = published_logits(recipe, processor, frames(2))
    assert np.abs(load(recipe).encode(frames(2)) - expected).max() < 1e-5


def test_a_convnext_processor_squashes_from_384_on(tmp_path: Path) -> None:
    recipe = saved(tmp_path, convnext, ConvNextImageProcessorPil(size={"shortest_edge": 384}))
    load(replace(recipe, view=View(region="frame", size=384, resample="bicubic")))


def test_a_convnext_processor_that_cuts_an_eighth_away_is_refused(tmp_path: Path) -> None:
    recipe = saved(tmp_path, convnext, ConvNextImageProcessorPil(size={"shortest_edge": 224}))
    with pytest.raises(WeightsError, match=r"ConvNextImageProcessor.* which no view does"):
        load(replace(recipe, view=View(region="frame", size=224, resample="bicubic")))


@pytest.mark.parametrize(
    ("build", "key"),
    [
        (vit, "vit.encoder.layer.1.attention.attention.query.weight"),  # as published; another name inside
        (vit, "classifier.bias"),
        (swin, "swin.encoder.layers.0.blocks.0.attention.self.relative_position_bias_table"),
        (siglip, "vision_model.head.probe"),
    ],
)
def test_a_wrong_key_is_refused_by_its_published_name(build: Callable[..., Any], key: str, tmp_path: Path) -> None:
    recipe = saved(tmp_path, build)
    (tmp_path / "broken").mkdir()
    assert_strict(load, recipe, load_file(recipe.weights), key, tmp_path / "broken")


def test_a_table_that_old_files_carry_is_left_out(tmp_path: Path) -> None:
    recipe = saved(tmp_path, swin)
    tensors: dict[str, Tensor] = load_file(recipe.weights)
    expected = scores(load(recipe), frames(2))
    tensors["swin.encoder.layers.0.blocks.0.attention.self.relative_position_index"] = torch.zeros(16, 16)
    old = tmp_path / "old.safetensors"
    save_file(tensors, old)
    assert scores(load(replace(recipe, files={**recipe.files, "weights": old})), frames(2)) == expected


def test_any_batch_gives_the_same_score(tmp_path: Path) -> None:
    assert_batch_invariant(load(saved(tmp_path)), frames(6))


def test_face_crops_score_as_frames_do(tmp_path: Path) -> None:
    recipe = saved(tmp_path)
    faces = replace(recipe, view=replace(recipe.view, region="face", margin=0.3))
    assert scores(load(faces), frames(2)) == scores(load(recipe), frames(2))


@pytest.mark.parametrize(
    ("names", "fake"),
    [
        (["Fake", "Real"], [0]),
        (["REAL", "FAKE"], [1]),
        (["Realism", "Deepfake"], [1]),
        (["artificial", "human"], [0]),
        (["AI", "Deepfake", "Real"], [0, 1]),
    ],
)
def test_the_label_order_is_read_from_id2label(names: list[str], fake: list[int], tmp_path: Path) -> None:
    recipe = saved(tmp_path, id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})
    detector = load(recipe)
    chances = torch.softmax(torch.tensor(detector.encode(frames(3)), dtype=torch.float64), dim=1)[:, fake].sum(dim=1)
    assert scores(detector, frames(3)) == pytest.approx(torch.logit(chances).tolist(), abs=1e-6)


def test_labels_that_say_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="LABEL_0, LABEL_1, which does not tell fake from real"):
        load(saved(tmp_path, num_labels=2))


def test_labels_that_say_nothing_can_be_stated_by_the_row(tmp_path: Path) -> None:
    recipe = replace(saved(tmp_path, num_labels=2), labels=("real", "fake"))
    outputs = load(recipe).encode(frames(2))
    assert scores(load(recipe), frames(2)) == pytest.approx((outputs[:, 1] - outputs[:, 0]).tolist(), abs=1e-6)


def test_a_row_that_contradicts_id2label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="its id2label says Fake, Real, its catalogue row says real, fake"):
        load(replace(saved(tmp_path), labels=("real", "fake")))


def test_the_clip_is_the_mean_of_its_frames(tmp_path: Path) -> None:
    detector = load(saved(tmp_path))
    score = detector.decide(detector.encode(frames(4)), np.array([0.0, 0.5, 1.0, 1.5]))
    assert score.logit == pytest.approx(np.mean(score.per_frame_logits))
    assert score.times_s == (0.0, 0.5, 1.0, 1.5)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (View(region="frame", size=64, resample="bilinear"), "view has size 64, its preprocessor 32"),
        (
            View(region="frame", size=SIZE, fit="crop", resample="bilinear"),
            "view has fit crop, its preprocessor squash",
        ),
        (View(region="frame", size=SIZE, resample="area"), "view has resample area, its preprocessor bilinear"),
    ],
)
def test_a_view_that_resizes_otherwise_is_refused_by_name(view: View, message: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=message):
        load(replace(saved(tmp_path), view=view))


@pytest.mark.parametrize(("code", "resample"), [(0, "nearest"), (1, "lanczos"), (2, "bilinear"), (3, "bicubic")])
def test_the_codes_of_pillow_are_understood(code: int, resample: Resample, tmp_path: Path) -> None:
    recipe = rewritten(saved(tmp_path), "preprocessor", resample=code)
    load(replace(recipe, view=replace(recipe.view, resample=resample)))


def test_a_filter_that_no_view_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="view has resample bilinear, its preprocessor 5"):
        load(rewritten(saved(tmp_path), "preprocessor", resample=5))


def test_a_processor_that_takes_the_centre_fits_a_view_that_crops(tmp_path: Path) -> None:
    square = {"height": SIZE, "width": SIZE}
    changes = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": SIZE}, "crop_size": square}
    recipe = rewritten(saved(tmp_path), "preprocessor", **changes, do_center_crop=True)
    load(replace(recipe, view=replace(recipe.view, fit="crop")))


@pytest.mark.parametrize(
    "changes",
    [
        {"size": {"height": SIZE, "width": 2 * SIZE}},
        {"size": {"shortest_edge": SIZE}},
        {"do_center_crop": True},
        {"do_resize": False},
        {"image_processor_type": "LevitImageProcessor"},
        {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": SIZE}, "do_center_crop": False},
        {"image_processor_type": None},
    ],
)
def test_a_resize_that_no_view_does_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="which no view does"):
        load(rewritten(saved(tmp_path), "preprocessor", **changes))


def test_a_step_that_is_not_done_here_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="do_flip_channel_order"):
        load(rewritten(saved(tmp_path), "preprocessor", do_flip_channel_order=True))


def test_a_normalisation_that_is_not_said_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the image_std None"):
        load(rewritten(saved(tmp_path), "preprocessor", image_std=None))


def test_a_file_of_the_first_years_is_understood(tmp_path: Path) -> None:
    recipe = saved(tmp_path)
    expected = scores(load(recipe), frames(2))
    old = {"image_processor_type": None, "feature_extractor_type": "ViTFeatureExtractor", "size": SIZE}
    recipe = rewritten(recipe, "preprocessor", **old, do_rescale=None, rescale_factor=None)
    assert scores(load(recipe), frames(2)) == expected


def test_pixels_stay_what_they_are_where_nothing_is_asked(tmp_path: Path) -> None:
    recipe = rewritten(saved(tmp_path), "preprocessor", do_rescale=False, do_normalize=False)
    with torch.inference_mode():
        pixels = torch.from_numpy(frames(1)).permute(0, 3, 1, 2).float()
        expected = AutoModelForImageClassification.from_pretrained(tmp_path).eval()(pixels).logits.numpy()
    assert np.abs(load(recipe).encode(frames(1)) - expected).max() < 1e-5


@pytest.mark.parametrize("absent", ["config", "preprocessor"])
def test_a_row_that_lacks_a_file_is_refused(absent: str, tmp_path: Path) -> None:
    recipe = saved(tmp_path)
    with pytest.raises(CatalogueError, match=f"needs the file {absent}"):
        load(replace(recipe, files={name: path for name, path in recipe.files.items() if name != absent}))


def test_an_option_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="no option image_mean"):
        load(replace(saved(tmp_path), options={"image_mean": 0.5}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"auto_map": {"AutoConfig": "theirs.Config"}}, "code of its repository"),
        ({"model_type": "their_model"}, "model_type is .their_model."),
        ({"model_type": "bert"}, "must be that of an image classifier"),
        ({"hidden_act": "theirs/kernel"}, "cannot build this vit"),
        ({"backbone_config": {"model_type": "dpt", "backbone": "theirs/network"}}, "names the backbone"),
        ({"hidden_size": "wide"}, "no configuration of vit"),
        ({"problem_type": "multi_label_classification"}, "do not exclude each other"),
    ],
)
def test_a_config_that_cannot_be_trusted_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=message):
        load(rewritten(saved(tmp_path), "config", **changes))


@pytest.mark.parametrize("content", ["", "[]"])
def test_a_file_that_is_no_json_object_is_a_weights_error(content: str, tmp_path: Path) -> None:
    recipe = saved(tmp_path)
    recipe.files["config"].write_text(content)
    with pytest.raises(WeightsError, match=r"config\.json"):
        load(recipe)


QUARTER = torch.zeros(4, 4, dtype=torch.bool)
QUARTER[2:, :2] = True


@pytest.mark.parametrize("build", [vit, siglip], ids=["class token", "mean of patches"])
def test_the_map_is_where_a_vision_transformer_attends(build: Callable[..., Any], tmp_path: Path) -> None:
    detector = load(saved(tmp_path, build))
    plant_attention(detector._net, QUARTER.flatten())
    saliency = detector.saliency(frames(2))
    assert saliency is not None
    assert saliency.method == "attention_rollout"
    assert saliency.maps.shape == (2, 4, 4)
    assert saliency.maps[:, QUARTER.numpy()].min() > 0.99
    assert saliency.maps[:, ~QUARTER.numpy()].max() < 0.01


@pytest.mark.parametrize("build", [swin, convnext, resnet])
def test_what_is_no_plain_vision_transformer_has_no_map_of_its_own(build: Callable[..., Any], tmp_path: Path) -> None:
    assert load(saved(tmp_path, build)).saliency(frames(1)) is None


def test_scores_are_the_same_after_a_map_was_made(tmp_path: Path) -> None:
    detector = load(saved(tmp_path))
    before = detector.encode(frames(2))
    detector.saliency(frames(2))
    assert np.array_equal(detector.encode(frames(2)), before)
