import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.models.siglip import SiglipConfig, SiglipVisionConfig, SiglipVisionModel

from models.detectors.contract import Recipe
from models.detectors.siglip_lstm import SiglipLstm, SiglipLstmDetector, load, prolonged, window_ends
from models.errors import CatalogueError, WeightsError
from models.types import View
from tests.checkpoints import assert_batch_invariant, assert_strict, plant_attention, written

SIZE, WIDTH, HIDDEN, FRAMES, WINDOW = 32, 32, 12, 12, 5
ENCODER = SiglipVisionConfig(
    hidden_size=WIDTH,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    image_size=SIZE,
    patch_size=8,
)
RECIPE = Recipe(
    "siglip",
    {},
    View(region="frame", size=SIZE, count=FRAMES),
    labels=("fake",),
    options={"attention_heads": 4, "window_frames": WINDOW},
)


class Published(nn.Module):
    """The network as its authors describe it, in plain torch around a real `from_pretrained`."""

    def __init__(self, folder: Path, *, two_layers: bool) -> None:
        super().__init__()
        torch.manual_seed(11)
        SiglipVisionModel(ENCODER).save_pretrained(folder)
        self.siglip_backbone = SiglipVisionModel.from_pretrained(folder)
        self.lstm = nn.LSTM(WIDTH, HIDDEN, num_layers=2, bidirectional=True, batch_first=True)
        self.video_classifier = self.head(2 * HIDDEN, two_layers=two_layers)
        self.image_classifier = self.head(WIDTH, two_layers=two_layers)
        self.eval()

    @staticmethod
    def head(width: int, *, two_layers: bool) -> nn.Module:
        if not two_layers:
            return nn.Linear(width, 1)
        return nn.Sequential(nn.Linear(width, 10), nn.ReLU(), nn.Dropout(0.5), nn.Linear(10, 1))

    @torch.inference_mode()
    def logit(self, frames: NDArray[np.uint8]) -> float:
        pixels = (torch.from_numpy(frames).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
        features = self.siglip_backbone(pixel_values=pixels).pooler_output
        _, (hidden, _) = self.lstm(features[None])
        return float(self.video_classifier(torch.cat([hidden[-2], hidden[-1]], dim=1)))


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("v1"), two_layers=False)


@pytest.fixture(scope="module")
def v4(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("v4"), two_layers=True)


@pytest.fixture(scope="module")
def detector(v1: Published, tmp_path_factory: pytest.TempPathFactory) -> SiglipLstmDetector:
    return load(written(RECIPE, v1.state_dict(), tmp_path_factory.mktemp("weights")))


def frames(count: int) -> NDArray[np.uint8]:
    """Noise around another colour in each frame, so that the features of any two differ."""
    random = np.random.default_rng(7)
    colours = random.uniform(0, 200, (count, 1, 1, 3))
    return (colours + random.uniform(0, 55, (count, SIZE, SIZE, 3))).astype(np.uint8)


def with_options(options: Mapping[str, Any]) -> Recipe:
    return replace(RECIPE, options=options)


def score_of(detector: SiglipLstmDetector, clip: NDArray[np.uint8]) -> float:
    return detector.decide(detector.encode(clip), np.arange(len(clip), dtype=np.float64)).logit


def test_the_keys_and_shapes_at_full_size_are_the_published_ones() -> None:
    with torch.device("meta"):
        net = SiglipLstm(SiglipVisionConfig(), (512, 2), 0)
    shapes = {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}
    layer = "siglip_backbone.encoder.layers.11."
    published = {
        "siglip_backbone.embeddings.patch_embedding.weight": (768, 3, 16, 16),
        "siglip_backbone.embeddings.position_embedding.weight": (196, 768),
        f"{layer}layer_norm1.weight": (768,),
        f"{layer}layer_norm2.bias": (768,),
        **{f"{layer}self_attn.{part}_proj.weight": (768, 768) for part in ("q", "k", "v", "out")},
        f"{layer}mlp.fc1.weight": (3072, 768),
        f"{layer}mlp.fc2.weight": (768, 3072),
        "siglip_backbone.post_layernorm.weight": (768,),
        "siglip_backbone.head.probe": (1, 1, 768),
        "siglip_backbone.head.attention.in_proj_weight": (2304, 768),
        "siglip_backbone.head.attention.out_proj.weight": (768, 768),
        "siglip_backbone.head.layernorm.weight": (768,),
        "siglip_backbone.head.mlp.fc2.weight": (768, 3072),
        "lstm.weight_ih_l0_reverse": (2048, 768),
        "lstm.weight_hh_l1": (2048, 512),
        "lstm.weight_ih_l1": (2048, 1024),
        "lstm.bias_hh_l1_reverse": (2048,),
        "video_classifier.weight": (1, 1024),
        "image_classifier.weight": (1, 768),
    }
    assert {key: shapes.get(key) for key in published} == published
    assert len(shapes) == 3 + 12 * 16 + 2 + 11 + 16 + 4


def test_v1_agrees_with_the_published_definition(v1: Published, detector: SiglipLstmDetector) -> None:
    assert score_of(detector, frames(FRAMES)) == pytest.approx(v1.logit(frames(FRAMES)), abs=1e-5)


def test_v4_agrees_with_the_published_definition(v4: Published, tmp_path: Path) -> None:
    loaded = load(written(RECIPE, v4.state_dict(), tmp_path))
    assert score_of(loaded, frames(FRAMES)) == pytest.approx(v4.logit(frames(FRAMES)), abs=1e-5)


def test_the_order_of_frames_matters(detector: SiglipLstmDetector) -> None:
    assert abs(score_of(detector, frames(FRAMES)) - score_of(detector, frames(FRAMES)[::-1].copy())) > 1e-4


def test_keys_with_the_prefix_of_data_parallel_load(v1: Published, tmp_path: Path) -> None:
    wrapped = {f"module.{key}": tensor for key, tensor in v1.state_dict().items()}
    assert score_of(load(written(RECIPE, wrapped, tmp_path)), frames(FRAMES)) == pytest.approx(
        v1.logit(frames(FRAMES)), abs=1e-5
    )


@pytest.mark.parametrize(
    "key",
    [
        "siglip_backbone.embeddings.patch_embedding.bias",
        "siglip_backbone.encoder.layers.1.self_attn.q_proj.weight",
        "siglip_backbone.head.probe",
        "lstm.weight_ih_l1_reverse",
        "video_classifier.weight",
        "image_classifier.bias",
    ],
)
def test_a_wrong_key_of_v1_is_refused_by_name(v1: Published, key: str, tmp_path: Path) -> None:
    assert_strict(load, RECIPE, v1.state_dict(), key, tmp_path)


@pytest.mark.parametrize("key", ["video_classifier.0.bias", "video_classifier.3.weight", "image_classifier.3.bias"])
def test_a_wrong_key_of_v4_is_refused_by_name(v4: Published, key: str, tmp_path: Path) -> None:
    assert_strict(load, RECIPE, v4.state_dict(), key, tmp_path)


@pytest.mark.parametrize(
    "key",
    [
        "siglip_backbone.embeddings.patch_embedding.weight",
        "siglip_backbone.embeddings.position_embedding.weight",
        "siglip_backbone.encoder.layers.0.mlp.fc1.weight",
        "lstm.weight_hh_l0",
        "lstm.weight_hh_l1",
        "video_classifier.0.weight",
    ],
)
@pytest.mark.parametrize("found", [None, torch.zeros(2, 2, 2)], ids=["missing", "misshapen"])
def test_a_wrong_key_that_sizes_are_read_from_is_refused_by_name(
    v4: Published, key: str, found: Tensor | None, tmp_path: Path
) -> None:
    others = {name: tensor for name, tensor in v4.state_dict().items() if name != key}
    with pytest.raises(WeightsError, match=re.escape(key)):
        load(written(RECIPE, others if found is None else others | {key: found}, tmp_path))


def test_any_batch_gives_the_same_score(detector: SiglipLstmDetector) -> None:
    assert_batch_invariant(detector, frames(FRAMES))


def test_each_frame_is_encoded_once_for_fifty_windows(detector: SiglipLstmDetector) -> None:
    encoded: list[int] = []
    count = detector._net.siglip_backbone.register_forward_hook(
        lambda _net, _args, outputs: encoded.append(len(outputs.pooler_output))
    )
    score = detector.decide(detector.encode(frames(60)), np.arange(60.0))
    count.remove()
    assert len(score.per_window_logits) == 50
    assert encoded == [60]


def test_a_window_scores_as_its_frames_alone_would(v1: Published, detector: SiglipLstmDetector) -> None:
    score = detector.decide(detector.encode(frames(FRAMES)), np.arange(FRAMES) / 4)
    assert len(score.per_window_logits) == FRAMES - WINDOW + 1
    assert score.windows_s[3] == (3 / 4, (3 + WINDOW - 1) / 4)
    assert score.per_window_logits[3] == pytest.approx(v1.logit(frames(FRAMES)[3 : 3 + WINDOW]), abs=1e-5)


def test_no_frame_is_scored_by_the_head_that_was_never_trained(detector: SiglipLstmDetector) -> None:
    assert detector.decide(detector.encode(frames(FRAMES)), np.arange(float(FRAMES))).per_frame_logits == ()


@pytest.mark.parametrize(
    ("count", "window", "ends"),
    [(5, 5, [4]), (8, 5, [4, 5, 6, 7]), (1, 1, [0]), (99, 1, list(range(0, 99, 2)))],
)
def test_windows_end_evenly_and_each_once(count: int, window: int, ends: list[int]) -> None:
    assert window_ends(count, window).tolist() == ends


def test_windows_of_a_long_clip_are_fifty_from_the_first_to_the_last_frame() -> None:
    ends = window_ends(300, 30)
    assert (len(ends), ends[0], ends[-1]) == (50, 29, 299)


def test_a_short_clip_is_prolonged_by_its_last_frame(v1: Published, detector: SiglipLstmDetector) -> None:
    clip = frames(3)
    score = detector.decide(detector.encode(clip), np.array([0.0, 0.5, 1.0]))
    repeated = np.concatenate([clip, np.repeat(clip[-1:], FRAMES - 3, axis=0)])
    assert score.logit == pytest.approx(v1.logit(repeated), abs=1e-5)
    assert score.per_window_logits == pytest.approx((v1.logit(repeated[:WINDOW]),), abs=1e-5)
    assert score.windows_s == ((0.0, 1.0),)


def test_a_clip_that_is_long_enough_is_not_prolonged() -> None:
    features = np.eye(3, dtype=np.float32)
    assert np.array_equal(prolonged(features, 2), features)


def test_the_logit_of_a_head_that_says_real_is_turned(
    v1: Published, detector: SiglipLstmDetector, tmp_path: Path
) -> None:
    turned = load(written(replace(RECIPE, labels=("real",)), v1.state_dict(), tmp_path))
    assert score_of(turned, frames(FRAMES)) == pytest.approx(-score_of(detector, frames(FRAMES)))


def published_config(folder: Path, config: SiglipConfig | SiglipVisionConfig) -> Recipe:
    config.save_pretrained(folder)
    return replace(RECIPE, files={"config": folder / "config.json"}, options={"window_frames": WINDOW})


@pytest.mark.parametrize("whole", [True, False])
def test_the_encoder_can_be_described_by_a_published_config(v1: Published, whole: bool, tmp_path: Path) -> None:
    config = SiglipConfig(vision_config=ENCODER.to_dict()) if whole else ENCODER
    recipe = published_config(tmp_path, config)
    loaded = load(written(recipe, v1.state_dict(), tmp_path))
    assert score_of(loaded, frames(FRAMES)) == pytest.approx(v1.logit(frames(FRAMES)), abs=1e-5)


def test_a_config_of_another_size_is_refused(v1: Published, tmp_path: Path) -> None:
    recipe = published_config(tmp_path, SiglipVisionConfig(image_size=40, patch_size=8))
    with pytest.raises(CatalogueError, match="its view has size 32, its config 40"):
        load(written(recipe, v1.state_dict(), tmp_path))


def test_a_config_of_no_siglip_is_refused(v1: Published, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    recipe = replace(RECIPE, files={"config": tmp_path / "config.json"}, options={})
    with pytest.raises(WeightsError, match="holds no JSON object"):
        load(written(recipe, v1.state_dict(), tmp_path))


def test_a_view_of_another_size_is_refused_with_the_right_one(v1: Published, tmp_path: Path) -> None:
    recipe = replace(RECIPE, view=replace(RECIPE.view, size=224))
    with pytest.raises(CatalogueError, match="The size must be 32, or up to 7 more"):
        load(written(recipe, v1.state_dict(), tmp_path))


def test_the_edge_that_fills_no_patch_is_not_looked_at(v1: Published, tmp_path: Path) -> None:
    loaded = load(written(replace(RECIPE, view=replace(RECIPE.view, size=35)), v1.state_dict(), tmp_path))
    wider = np.pad(frames(FRAMES), ((0, 0), (0, 3), (0, 3), (0, 0)), constant_values=9)
    assert score_of(loaded, wider) == pytest.approx(v1.logit(frames(FRAMES)), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention_heads": 4, "rolling_window_size": 10}, "no option rolling_window_size"),
        ({"attention_heads": 4, "window_frames": 0}, "window_frames is 0"),
        ({"attention_heads": "4"}, "attention_heads is '4'"),
        ({"attention_heads": 5}, "width 32 with 5 attention heads"),
        ({}, "width 32 with unknown attention heads"),
    ],
)
def test_a_wrong_option_is_refused_by_name(
    v1: Published, options: Mapping[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CatalogueError, match=message):
        load(written(with_options(options), v1.state_dict(), tmp_path))


def test_heads_that_are_said_twice_are_refused(v1: Published, tmp_path: Path) -> None:
    recipe = replace(published_config(tmp_path, ENCODER), options=RECIPE.options)
    with pytest.raises(CatalogueError, match="Say it once"):
        load(written(recipe, v1.state_dict(), tmp_path))


def test_a_row_without_its_label_is_refused(v1: Published, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="one output and 0 labels"):
        load(written(replace(RECIPE, labels=()), v1.state_dict(), tmp_path))


def test_the_heads_of_a_published_width_need_no_option(tmp_path: Path) -> None:
    encoder = SiglipVisionConfig(
        hidden_size=768, intermediate_size=8, num_hidden_layers=1, num_attention_heads=12, image_size=32, patch_size=16
    )
    tensors: dict[str, Tensor] = SiglipLstm(encoder, (4, 1), 0).state_dict()
    loaded = load(written(with_options({}), tensors, tmp_path))
    assert loaded._net.siglip_backbone.config.num_attention_heads == 12


def test_the_map_is_where_the_encoder_attends(v1: Published, tmp_path: Path) -> None:
    detector = load(written(RECIPE, v1.state_dict(), tmp_path))
    quarter = torch.zeros(4, 4, dtype=torch.bool)
    quarter[:2, 2:] = True
    plant_attention(detector._net.siglip_backbone, quarter.flatten())
    saliency = detector.saliency(frames(2))
    assert saliency is not None
    assert (saliency.method, saliency.maps.shape) == ("attention_rollout", (2, 4, 4))
    assert saliency.maps[:, quarter.numpy()].min() > 0.99
    assert saliency.maps[:, ~quarter.numpy()].max() < 0.01


def test_scores_are_the_same_after_a_map_was_made(detector: SiglipLstmDetector) -> None:
    before = detector.encode(frames(2))
    detector.saliency(frames(2))
    assert np.array_equal(detector.encode(frames(2)), before)
