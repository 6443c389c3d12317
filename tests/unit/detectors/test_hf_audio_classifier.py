import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForAudioClassification,
    HubertConfig,
    HubertForSequenceClassification,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    WavLMConfig,
    WavLMForSequenceClassification,
)

from models.detectors.contract import Recipe
from models.detectors.hf_audio_classifier import HfAudioClassifier, load
from models.errors import CatalogueError, WeightsError
from models.types import View
from tests.checkpoints import assert_batch_invariant, assert_strict, written

VIEW = View(region="audio", size=8000, fit="repeat", count=4)
LABELS = {0: "fake", 1: "real"}
SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 4, 4),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
    "id2label": LABELS,
}
KINDS: dict[str, Callable[[], Any]] = {
    "wav2vec2": lambda: Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**SMALL)),
    "xls-r": lambda: Wav2Vec2ForSequenceClassification(
        Wav2Vec2Config(**SMALL, feat_extract_norm="layer", do_stable_layer_norm=True, use_weighted_layer_sum=True)
    ),
    "hubert": lambda: HubertForSequenceClassification(HubertConfig(**SMALL)),
    "wavlm": lambda: WavLMForSequenceClassification(WavLMConfig(**SMALL)),
}
POSITION = "wav2vec2.encoder.pos_conv_embed.conv"


def repository(folder: Path, kind: str = "wav2vec2", *, normalise: bool = True) -> Recipe:
    """A folder as transformers saves it, and the recipe of its files."""
    torch.manual_seed(37)
    KINDS[kind]().save_pretrained(folder)
    extractor: Any = Wav2Vec2FeatureExtractor
    extractor(do_normalize=normalise).save_pretrained(folder)
    files = {"weights": "model.safetensors", "config": "config.json", "preprocessor": "preprocessor_config.json"}
    return Recipe("voices", {name: folder / file for name, file in files.items()}, VIEW)


def edited(recipe: Recipe, name: str, **changes: Any) -> Recipe:
    """The recipe with keys of one of its JSON files changed; None takes a key out."""
    path = recipe.files[name]
    content = {**json.loads(path.read_text("utf-8")), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), "utf-8")
    return recipe


def sounds(rows: int) -> NDArray[np.float32]:
    """Noise over an offset, which normalising takes away."""
    return np.random.default_rng(41).normal(0.1, 0.05, (rows, VIEW.size)).astype(np.float32)


def with_old_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    return {
        next((key.replace(new, name) for new, name in old.items() if new in key), key): tensor
        for key, tensor in tensors.items()
    }


def with_new_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    new = {".weight_g": ".parametrizations.weight.original0", ".weight_v": ".parametrizations.weight.original1"}
    return {
        next((key.replace(old, name) for old, name in new.items() if key.endswith(old)), key): tensor
        for key, tensor in tensors.items()
    }


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> HfAudioClassifier:
    return load(repository(tmp_path_factory.mktemp("repository")))


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_from_pretrained_and_its_feature_extractor(
    kind: str, normalise: bool, tmp_path: Path
) -> None:
    recipe, rows = repository(tmp_path, kind, normalise=normalise), sounds(2)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(tmp_path)
    inputs = extractor(list(rows), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        expected = AutoModelForAudioClassification.from_pretrained(tmp_path)(inputs).logits.numpy()
    assert np.abs(load(recipe).encode(rows) - expected).max() < 1e-5


@pytest.mark.parametrize("names", [with_old_names, with_new_names])
def test_both_names_of_the_weight_norm_load(
    names: Callable[[dict[str, Tensor]], dict[str, Tensor]], detector: HfAudioClassifier, tmp_path: Path
) -> None:
    folder = tmp_path / "repository"
    recipe = repository(folder)
    tensors = names(load_file(recipe.weights))
    assert len([key for key in tensors if key.startswith(f"{POSITION}.")]) == 3
    rows = sounds(1)
    assert np.array_equal(load(written(recipe, tensors, tmp_path)).encode(rows), detector.encode(rows))


@pytest.mark.parametrize("key", ["classifier.weight", "wav2vec2.encoder.layers.1.attention.q_proj.bias"])
def test_a_renamed_missing_or_misshapen_key_is_named(key: str, tmp_path: Path) -> None:
    recipe = repository(tmp_path)
    assert_strict(load, recipe, load_file(recipe.weights), key, tmp_path)


def test_a_row_scores_the_same_alone_and_among_others(detector: HfAudioClassifier) -> None:
    assert_batch_invariant(detector, sounds(3))


def test_without_a_preprocessor_windows_are_normalised(detector: HfAudioClassifier, tmp_path: Path) -> None:
    recipe = repository(tmp_path)
    bare = replace(recipe, files={name: recipe.files[name] for name in ("weights", "config")})
    assert np.array_equal(load(bare).encode(sounds(1)), detector.encode(sounds(1)))


def test_a_sound_scores_the_mean_of_its_windows(detector: HfAudioClassifier) -> None:
    score = detector.decide(np.array([[1, 0], [5, 0]], np.float32), np.array([0.0, 2.0]))
    assert score.logit == 3
    assert score.windows_s == ((0.0, 0.5), (2.0, 2.5))


def test_the_label_order_is_that_of_the_config(tmp_path: Path) -> None:
    turned = load(edited(repository(tmp_path), "config", id2label={"0": "real", "1": "fake"}))
    assert turned.decide(np.array([[-1, 2]], np.float32), np.zeros(1)).logit == 3


def test_a_label_order_that_cannot_be_established_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="LABEL_0, LABEL_1, which does not tell fake from real"):
        load(edited(repository(tmp_path), "config", id2label=None, label2id=None))


def test_a_row_that_states_the_opposite_of_the_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="catalogue row says real, fake"):
        load(replace(repository(tmp_path), labels=("real", "fake")))


@pytest.mark.parametrize("name", ["config", "preprocessor"])
def test_a_file_that_names_code_of_its_repository_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="auto_map"):
        load(edited(repository(tmp_path), name, auto_map={"AutoConfig": "configuration.Evil"}))


def test_a_kernel_that_the_config_would_have_downloaded_is_not(tmp_path: Path) -> None:
    recipe = edited(repository(tmp_path), "config", attn_implementation="kernels-community/flash-attn3")
    assert load(recipe).encode(sounds(1)).shape == (1, 2)


def test_a_model_that_reads_no_waveforms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="model_type is 'audio-spectrogram-transformer'"):
        load(edited(repository(tmp_path), "config", model_type="audio-spectrogram-transformer"))


def test_a_config_of_the_wrong_types_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is no configuration of wav2vec2"):
        load(edited(repository(tmp_path), "config", hidden_size="many"))


def test_a_config_that_no_network_can_be_built_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot build this wav2vec2"):
        load(edited(repository(tmp_path), "config", hidden_act="theirs/kernel"))


def test_another_sampling_rate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="sampling_rate is 8000"):
        load(edited(repository(tmp_path), "preprocessor", sampling_rate=8000))


def test_another_feature_extractor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="feature_extractor_type is 'ASTFeatureExtractor'"):
        load(edited(repository(tmp_path), "preprocessor", feature_extractor_type="ASTFeatureExtractor"))


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_config_that_is_no_json_object_is_refused(content: str, tmp_path: Path) -> None:
    recipe = repository(tmp_path)
    recipe.files["config"].write_text(content, "utf-8")
    with pytest.raises(WeightsError, match=r"config\.json"):
        load(recipe)


def test_a_row_without_a_config_is_refused(tmp_path: Path) -> None:
    recipe = repository(tmp_path)
    with pytest.raises(CatalogueError, match="named config"):
        load(replace(recipe, files={"weights": recipe.weights}))


def test_a_view_that_fills_short_sound_with_silence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="fit pad"):
        load(replace(repository(tmp_path), view=replace(VIEW, fit="pad")))


def test_an_unknown_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="has no option do_normalize"):
        load(replace(repository(tmp_path), options={"do_normalize": True}))
