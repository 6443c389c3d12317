import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModelWithProjection

from models.detectors.clip_tower import MEAN, STD, Tower, read_encoder
from models.detectors.contract import Recipe
from models.errors import WeightsError
from models.types import View
from tests import clip_checkpoints as clip
from tests.checkpoints import assert_strict

VIEW = View(region="frame", size=clip.SIDE, fit="centre")
RECIPE = Recipe("clip", {}, VIEW)
QKV = "vision_model.encoder.layers.1.self_attn.v_proj.weight"


def encoder(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any] | None = None) -> Recipe:
    path = folder / "encoder.safetensors"
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, path)
    files = {"weights": path, "encoder": path}
    if config is not None:
        files["config"] = folder / "config.json"
        files["config"].write_text(json.dumps(config))
    return replace(RECIPE, files=files)


def as_encoder(recipe: Recipe) -> Tower:
    return read_encoder(replace(recipe, files={"weights": recipe.weights, "encoder": recipe.weights}))


def saved_by_transformers(folder: Path, **vision: Any) -> Recipe:
    """A whole CLIP, saved by transformers, with the counters of positions that the published file carries."""
    torch.manual_seed(4)
    sizes: dict[str, Any] = {
        "hidden_size": 128,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = CLIPConfig(
        vision_config=CLIPVisionConfig(**sizes, image_size=56, patch_size=14, projection_dim=32, **vision).to_dict(),
        text_config=CLIPTextConfig(**sizes, vocab_size=20, max_position_embeddings=8, projection_dim=32).to_dict(),
        projection_dim=32,
    )
    CLIPModel(config).save_pretrained(folder)
    path = folder / "model.safetensors"
    counters = {"vision_model.embeddings.position_ids": torch.arange(17)[None]}
    save_file(load_file(path) | counters | {"text_model.embeddings.position_ids": torch.arange(8)[None]}, path)
    return replace(RECIPE, files={"weights": path, "encoder": path, "config": folder / "config.json"})


def assert_as_transformers(folder: Path, tower: Tower) -> None:
    net = CLIPVisionModelWithProjection.from_pretrained(folder)
    rows = torch.tensor(clip.pictures(3))
    picture = (rows.permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.inference_mode():
        assert torch.allclose(tower.project(tower(rows)), net(pixel_values=picture).image_embeds, atol=1e-5)


@pytest.mark.parametrize("named_by", [dict, clip.transformers_state], ids=["openai", "transformers"])
def test_the_tower_computes_what_openai_defines(tmp_path: Path, named_by: Any) -> None:
    state = clip.openai_state()
    tower = read_encoder(encoder(tmp_path, named_by(state)))
    with torch.inference_mode():
        pooled = tower(torch.tensor(clip.pictures(3))).double()
    assert torch.allclose(pooled, clip.pooled(state, clip.pictures(3)), atol=1e-5)


@pytest.mark.parametrize("named_by", [dict, clip.transformers_state], ids=["openai", "transformers"])
def test_the_projection_computes_what_openai_defines(tmp_path: Path, named_by: Any) -> None:
    state = clip.openai_state()
    tower = read_encoder(encoder(tmp_path, named_by(state)))
    with torch.inference_mode():
        projected = tower.project(tower(torch.tensor(clip.pictures(3)))).double()
    assert torch.allclose(projected, clip.projected(state, clip.pictures(3)), atol=1e-5)


def test_a_whole_clip_of_transformers_gives_the_features_transformers_gives(tmp_path: Path) -> None:
    assert_as_transformers(tmp_path, read_encoder(saved_by_transformers(tmp_path)))


@pytest.mark.parametrize("vision", [{"hidden_act": "gelu"}, {"layer_norm_eps": 0.1}], ids=["activation", "epsilon"])
def test_what_only_the_config_tells_is_read_from_it(tmp_path: Path, vision: dict[str, Any]) -> None:
    assert_as_transformers(tmp_path, read_encoder(saved_by_transformers(tmp_path, **vision)))


def test_the_number_of_heads_is_read_from_the_config(tmp_path: Path) -> None:
    tower = read_encoder(encoder(tmp_path, clip.openai_state(), {"vision_config": {"num_attention_heads": 4}}))
    assert tower.clip.vision_model.encoder.layers[0].self_attn.num_heads == 4


def test_a_tower_in_half_precision_is_computed_in_single(tmp_path: Path) -> None:
    tower = read_encoder(encoder(tmp_path, {key: tensor.half() for key, tensor in clip.openai_state().items()}))
    assert {tensor.dtype for tensor in tower.state_dict().values()} == {torch.float32}


def test_the_text_half_in_openais_names_is_left_out(tmp_path: Path) -> None:
    read_encoder(encoder(tmp_path, clip.openai_state() | clip.openai_text_state()))


@pytest.mark.parametrize(
    "key", ["text_modle.layer.weight", "visual.extra", "vision_model.extra", "token_embedding.bias"]
)
def test_a_key_that_is_neither_half_is_refused_by_name(tmp_path: Path, key: str) -> None:
    with pytest.raises(WeightsError, match=rf"unexpected key {key}"):
        read_encoder(encoder(tmp_path, clip.openai_state() | {key: torch.ones(2)}))


@pytest.mark.parametrize(
    "key",
    [
        "visual.class_embedding",
        "visual.conv1.weight",
        "visual.positional_embedding",
        "visual.ln_post.bias",
        "visual.transformer.resblocks.0.attn.in_proj_weight",
        "visual.transformer.resblocks.1.attn.in_proj_bias",
        "visual.transformer.resblocks.1.mlp.c_fc.weight",
    ],
)
def test_a_broken_key_in_openais_names_is_refused_by_that_name(tmp_path: Path, key: str) -> None:
    assert_strict(as_encoder, RECIPE, clip.openai_state(), key, tmp_path)


@pytest.mark.parametrize(
    "key", [QKV, "vision_model.embeddings.patch_embedding.weight", "vision_model.pre_layrnorm.weight"]
)
def test_a_broken_key_in_transformers_names_is_refused_by_that_name(tmp_path: Path, key: str) -> None:
    assert_strict(as_encoder, RECIPE, clip.transformers_state(clip.openai_state()), key, tmp_path)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"vision_config": {"hidden_size": 256}}, "hidden_size is 256"),
        ({"vision_config": {"projection_dim": 512}}, "projection_dim is 512"),
        ({"patch_size": 16}, "patch_size is 16"),
        ({"vision_config": {"num_attention_heads": 3}}, "3 attention heads for 128 channels"),
        ({"vision_config": {"num_attention_heads": 0}}, "0 attention heads"),
        ({"vision_config": {"num_attention_heads": "2"}}, "num_attention_heads is '2'"),
        ({"vision_config": {"hidden_act": "relu"}}, "hidden_act is 'relu'"),
        ({"vision_config": 3}, "vision_config that is no JSON object"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path: Path, config: dict[str, Any], named: str) -> None:
    with pytest.raises(WeightsError, match=named):
        read_encoder(encoder(tmp_path, clip.openai_state(), config))


def test_a_config_that_is_no_json_is_refused(tmp_path: Path) -> None:
    recipe = encoder(tmp_path, clip.openai_state(), {})
    recipe.files["config"].write_text("{")
    with pytest.raises(WeightsError, match=r"config\.json cannot be read as JSON"):
        read_encoder(recipe)


def test_positions_that_form_no_square_are_refused(tmp_path: Path) -> None:
    state = clip.openai_state() | {"visual.positional_embedding": torch.ones(16, clip.WIDTH)}
    with pytest.raises(WeightsError, match=r"visual\.positional_embedding for 15 patches"):
        read_encoder(encoder(tmp_path, state))
