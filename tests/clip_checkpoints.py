"""Small CLIPs in OpenAI's layout, and what they compute, written out layer by layer from the paper's definition."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])
WIDTH, MLP, LAYERS, PATCH, SIDE, PROJECTION = 128, 160, 2, 14, 56, 768  # two heads of 64, 4 x 4 patches


def openai_state(seed: int = 1) -> dict[str, Tensor]:
    """A picture half in the names and shapes of OpenAI's ViT-L/14.pt."""
    patches = (SIDE // PATCH) ** 2
    shapes: dict[str, tuple[int, ...]] = {
        "visual.class_embedding": (WIDTH,),
        "visual.positional_embedding": (patches + 1, WIDTH),
        "visual.proj": (WIDTH, PROJECTION),
        "visual.conv1.weight": (WIDTH, 3, PATCH, PATCH),
    }
    modules: dict[str, tuple[int, ...]] = {"visual.ln_pre": (WIDTH,), "visual.ln_post": (WIDTH,)}
    for i in range(LAYERS):
        block = f"visual.transformer.resblocks.{i}."
        shapes |= {f"{block}attn.in_proj_weight": (3 * WIDTH, WIDTH), f"{block}attn.in_proj_bias": (3 * WIDTH,)}
        modules |= {f"{block}attn.out_proj": (WIDTH, WIDTH), f"{block}ln_1": (WIDTH,), f"{block}ln_2": (WIDTH,)}
        modules |= {f"{block}mlp.c_fc": (MLP, WIDTH), f"{block}mlp.c_proj": (WIDTH, MLP)}
    for name, shape in modules.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    random = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(shape, generator=random) / shape[-1] ** 0.5 for name, shape in shapes.items()}
    # Norms keep their scale, as trained ones do: else all features are so small that nothing tells them apart.
    norms = {name for name in state if ".ln_" in name and name.endswith("weight")}
    return {name: 1 + tensor if name in norms else tensor for name, tensor in state.items()}


def openai_text_state() -> dict[str, Tensor]:
    """Keys of the text half and of TorchScript's constants, as in OpenAI's file; one layer."""
    names = ("transformer.resblocks.0.ln_1.weight", "token_embedding.weight", "positional_embedding", "ln_final.weight")
    others = ("ln_final.bias", "text_projection", "logit_scale", "input_resolution", "context_length", "vocab_size")
    return {name: torch.ones(2) for name in names + others}


def pooled(state: dict[str, Tensor], pixels: NDArray[np.uint8]) -> Tensor:
    """`(N, WIDTH)` double: the class token of `(N, SIDE, SIDE, 3)` pictures after `ln_post`, before `proj`."""
    w = {name.removeprefix("visual."): tensor.double() for name, tensor in state.items()}
    picture = torch.tensor((pixels / 255 - MEAN) / STD).permute(0, 3, 1, 2)
    patches = functional.conv2d(picture, w["conv1.weight"], stride=PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([w["class_embedding"].expand(len(pixels), 1, -1), patches], dim=1) + w["positional_embedding"]
    x = _norm(x, w, "ln_pre")
    for i in range(LAYERS):
        block = f"transformer.resblocks.{i}."
        x = x + _attend(_norm(x, w, f"{block}ln_1"), w, f"{block}attn.")
        inner = functional.linear(_norm(x, w, f"{block}ln_2"), w[f"{block}mlp.c_fc.weight"], w[f"{block}mlp.c_fc.bias"])
        inner = inner * torch.sigmoid(1.702 * inner)  # "QuickGELU"
        x = x + functional.linear(inner, w[f"{block}mlp.c_proj.weight"], w[f"{block}mlp.c_proj.bias"])
    return _norm(x[:, 0], w, "ln_post")


def projected(state: dict[str, Tensor], pixels: NDArray[np.uint8]) -> Tensor:
    """`(N, PROJECTION)` double: OpenAI's `encode_image`."""
    return pooled(state, pixels) @ state["visual.proj"].double()


def pictures(count: int, seed: int = 5) -> NDArray[np.uint8]:
    """`(N, SIDE, SIDE, 3)` random pictures."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def transformers_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tower in transformers' names and layout."""
    renamed: dict[str, Tensor] = {}
    replaced: Any = (
        ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
        ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
        ("visual.conv1", "vision_model.embeddings.patch_embedding"),
        ("visual.transformer.resblocks", "vision_model.encoder.layers"),
        ("visual.ln_pre", "vision_model.pre_layrnorm"),
        ("visual.ln_post", "vision_model.post_layernorm"),
        ("visual.proj", "visual_projection.weight"),
        (".attn.out_proj", ".self_attn.out_proj"),
        (".ln_1", ".layer_norm1"),
        (".ln_2", ".layer_norm2"),
        (".c_fc", ".fc1"),
        (".c_proj", ".fc2"),
    )
    for name, tensor in state.items():
        key = name
        for theirs, ours in replaced:
            key = key.replace(theirs, ours)
        if ".attn.in_proj_" in key:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                renamed[key.replace("attn.in_proj_", f"self_attn.{part}_proj.")] = piece
        else:
            renamed[key] = tensor.T if name == "visual.proj" else tensor
    return renamed


def _norm(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def _attend(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    attention = nn.MultiheadAttention(WIDTH, WIDTH // 64, batch_first=True, dtype=torch.float64)
    attention.load_state_dict({key: w[name + key] for key in attention.state_dict()})
    with torch.no_grad():
        attended: Tensor = attention(x, x, x, need_weights=False)[0]
    return attended
