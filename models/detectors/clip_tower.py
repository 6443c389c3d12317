"""The picture half of CLIP, from checkpoints in transformers' or in OpenAI's names, and what detectors on it share.

Architecture: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
Sizes are read off the shapes of the tensors. What shapes do not tell (heads, activation, epsilon) is as OpenAI
published it, unless a config.json beside the checkpoint says otherwise.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from models.detectors.contract import Recipe, Saliency
from models.detectors.device import to_float
from models.detectors.hf_files import read_json, vision_part
from models.detectors.labels import fake_logits
from models.detectors.saliency import attentive, first_token, rollout
from models.detectors.weights import check_keys, fill, read_tensors
from models.errors import CatalogueError, WeightsError
from models.types import Class, ClipScore

# Of the pictures CLIP was trained on, in [0, 1]: OpenAI's preprocessing.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
HEAD_WIDTH = 64  # channels per attention head in every vision transformer OpenAI published
ACTIVATIONS = ("quick_gelu", "gelu")
FREE = ("num_attention_heads", "hidden_act", "layer_norm_eps")  # what a config says and no tensor shows

# What a checkpoint of the whole CLIP holds besides the picture half: the text half in transformers' names, the counter
# of positions older transformers saved, the text half in OpenAI's names, and the constants of OpenAI's TorchScript.
NOT_THE_TOWER = re.compile(
    r"text_model\..+|text_projection\.weight|logit_scale|vision_model\.embeddings\.position_ids"
    r"|transformer\.resblocks\..+|token_embedding\.weight|positional_embedding|ln_final\.(weight|bias)|text_projection"
    r"|input_resolution|context_length|vocab_size"
)

# OpenAI's names of the parts of the embedding and of a layer, and transformers'. Queries, keys and values are apart
# from these: OpenAI stacks them in one `in_proj`.
EMBEDDING = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.proj": "visual_projection.weight",
}
NORMS = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm"}
LAYER = {
    "ln_1": "layer_norm1",
    "attn.out_proj": "self_attn.out_proj",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
TRANSPOSED = "visual.proj"  # OpenAI multiplies features by it; a linear layer by the transpose of its weight


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a tower is built from; the names are those of `CLIPVisionConfig`.

    Attributes:
        hidden_size: channels.
        intermediate_size: channels inside a layer's two linear maps.
        num_hidden_layers: how many layers.
        image_size: side of the picture in pixels.
        patch_size: side of a patch in pixels.
        projection_dim: channels of the space shared with text.
        num_attention_heads: per layer.
        hidden_act: activation inside a layer.
        layer_norm_eps: added to variances.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    image_size: int
    patch_size: int
    projection_dim: int
    num_attention_heads: int
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5


class Tower(nn.Module):
    """Pictures to pooled features. Holds no weights until `take`.

    Args:
        sizes: of the network.
        names: the checkpoint's name of each tensor, and the keys of the network that are stacked in it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, sizes: Sizes, names: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.sizes = sizes
        self.clip = _unfilled(sizes)
        self._names = names
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """`(N, H, W, 3)` uint8 RGB in; `(N, hidden_size)` out: the class token after the last norm, not projected."""
        picture = to_float(pixels, 1 / 255, self.mean, self.std)
        pooled: Tensor = self.clip.vision_model(pixel_values=picture).pooler_output
        return pooled

    def project(self, pooled: Tensor) -> Tensor:
        """`(N, hidden_size)` of `forward` to `(N, projection_dim)`, not normalised: OpenAI's `encode_image`."""
        projected: Tensor = self.clip.visual_projection(pooled)
        return projected

    def rollout(self, pixels: Tensor) -> Saliency | None:
        """Attention rollout from the class token: `(N, H, W, 3)` uint8 RGB to `(N, h, h)` of the patches."""
        with torch.no_grad():
            picture = to_float(pixels, 1 / 255, self.mean, self.std)
            attentions = self._twin(pixel_values=picture, output_attentions=True).attentions
            return rollout(attentions, first_token(attentions[0].shape[-1], pixels.device))

    @cached_property
    def _twin(self) -> Any:
        return attentive(self.clip.vision_model)

    @property
    def wanted(self) -> dict[str, tuple[int, ...]]:
        """Every key the checkpoint must hold of the tower, and its shape, in the checkpoint's own names."""
        own = {key: tuple(tensor.shape) for key, tensor in self.clip.state_dict().items()}
        shapes = {name: (len(keys) * own[keys[0]][0], *own[keys[0]][1:]) for name, keys in self._names.items()}
        return {name: shape[::-1] if name.endswith(TRANSPOSED) else shape for name, shape in shapes.items()}

    def take(self, tensors: Mapping[str, Tensor], path: Path) -> "Tower":
        """Take the weights from a checkpoint that holds all that is `wanted`; other keys of it are not looked at."""
        state: dict[str, Tensor] = {}
        for name, keys in self._names.items():
            tensor = tensors[name].T if name.endswith(TRANSPOSED) else tensors[name]
            state |= zip(keys, tensor.chunk(len(keys)), strict=True)
        fill(self.clip, state, path)
        return self


def _unfilled(sizes: Sizes) -> CLIPVisionModelWithProjection:
    """The network with memory but no values: drawing 300 million random numbers to overwrite them takes 10 s."""
    with torch.device("meta"):
        net = CLIPVisionModelWithProjection(CLIPVisionConfig(**asdict(sizes)))
    net.to_empty(device="cpu")
    embeddings = net.vision_model.embeddings
    embeddings.position_ids = torch.arange(embeddings.num_positions).expand(1, -1)  # the one buffer no file holds
    return net


def read_encoder(recipe: Recipe) -> Tower:
    """The tower of the recipe's `encoder` file, with its weights; for files of weights that are a head alone.

    Raises:
        CatalogueError: the recipe has no such file.
        WeightsError: as `tower_for`, or a key is missing, unexpected or misshapen; it is named as in the file.
    """
    if "encoder" not in recipe.files:
        raise CatalogueError(
            f"{recipe.id}: {recipe.weights} is a head without its CLIP.", "It needs an `encoder` file."
        )
    path = recipe.files["encoder"]
    tensors = without_text(read_tensors(path))
    tower = tower_for(tensors, path, config=recipe.files.get("config"))
    check_keys(tensors, tower.wanted, path)
    return tower.take(tensors, path)


def without_text(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """A checkpoint without CLIP's text half, each key of which is known by name under the tower's prefix."""
    others = re.compile(f"{re.escape(prefix)}({NOT_THE_TOWER.pattern})")
    return {key: tensor for key, tensor in tensors.items() if not others.fullmatch(key)}


def tower_for(tensors: Mapping[str, Tensor], path: Path, prefix: str = "", config: Path | None = None) -> Tower:
    """The tower a checkpoint holds under a prefix, before it takes its weights.

    Args:
        tensors: of the checkpoint; half or single precision.
        path: where they are from, for errors.
        prefix: before each of the tower's keys.
        config: transformers' config.json of the CLIP, if there is one; it must agree with the shapes.

    Raises:
        WeightsError: a tensor that tells a size is missing or has too many or too few axes; the config disagrees with
            the tensors or names an activation that CLIP has not; or the heads do not divide the channels.
    """
    openai = any(key.startswith(f"{prefix}visual.") for key in tensors)
    sizes = _sizes(tensors, path, prefix, openai=openai)
    if config is not None:
        sizes = _configured(sizes, config)
    heads, width = sizes.num_attention_heads, sizes.hidden_size
    if heads < 1 or width % heads:
        raise WeightsError(f"{config or path}: {heads} attention heads for {width} channels.", "They must divide them.")
    return Tower(sizes, key_names(sizes.num_hidden_layers, prefix, openai=openai))


def key_names(layers: int, prefix: str = "", *, openai: bool) -> dict[str, tuple[str, ...]]:
    """The published name of each tensor of a tower, and the keys of the network that are stacked in it."""
    names: dict[str, tuple[str, ...]] = {theirs: (ours,) for theirs, ours in EMBEDDING.items()}
    parts = dict(NORMS)
    for i in range(layers):
        theirs, ours = f"visual.transformer.resblocks.{i}.", f"vision_model.encoder.layers.{i}."
        parts |= {theirs + a: ours + b for a, b in LAYER.items()}
        for leaf in ("weight", "bias"):
            names[f"{theirs}attn.in_proj_{leaf}"] = tuple(f"{ours}self_attn.{part}_proj.{leaf}" for part in "qkv")
    names |= {f"{a}.{leaf}": (f"{b}.{leaf}",) for a, b in parts.items() for leaf in ("weight", "bias")}
    if openai:
        return {prefix + name: keys for name, keys in names.items()}
    return {prefix + key: (key,) for keys in names.values() for key in keys}


def _sizes(tensors: Mapping[str, Tensor], path: Path, prefix: str, *, openai: bool) -> Sizes:
    names = {key: name for name, keys in key_names(1, prefix, openai=openai).items() for key in keys}

    def shape(key: str, axes: int) -> tuple[int, ...]:
        if names[key] not in tensors:
            raise WeightsError(f"{path} lacks the key {names[key]}.", "A CLIP has transformers' names or OpenAI's.")
        found = tuple(tensors[names[key]].shape)
        if len(found) != axes:
            raise WeightsError(f"{path} has {names[key]} as {found}.", f"It must have {axes} axes.")
        return found[::-1] if names[key].endswith(TRANSPOSED) else found

    positions, width = shape("vision_model.embeddings.position_embedding.weight", 2)
    patch = shape("vision_model.embeddings.patch_embedding.weight", 4)[-1]
    grid = math.isqrt(max(positions - 1, 0))
    if grid * grid != positions - 1 or not grid:
        name = names["vision_model.embeddings.position_embedding.weight"]
        raise WeightsError(f"{path} has {name} for {positions - 1} patches.", "They must form a square.")
    layer = re.compile(re.escape(prefix) + r"(?:vision_model\.encoder\.layers|visual\.transformer\.resblocks)\.(\d+)\.")
    return Sizes(
        hidden_size=width,
        intermediate_size=shape("vision_model.encoder.layers.0.mlp.fc1.weight", 2)[0],
        num_hidden_layers=1 + max((int(found[1]) for found in map(layer.match, tensors) if found), default=0),
        image_size=grid * patch,
        patch_size=patch,
        projection_dim=shape("visual_projection.weight", 2)[0],
        num_attention_heads=max(width // HEAD_WIDTH, 1),
    )


def _configured(sizes: Sizes, config: Path) -> Sizes:
    """The sizes with what only the config can tell; raises `WeightsError` where it contradicts a tensor."""
    stated = vision_part(read_json(config), config)
    told = {key: stated[key] for key in asdict(sizes) if key in stated}
    for key, value in told.items():
        own = getattr(sizes, key)
        if type(value) is not type(own) or (key not in FREE and value != own):
            raise WeightsError(f"{config} says {key} is {value!r}.", f"By the tensors it is {own!r}.")
    if (activation := told.get("hidden_act", ACTIVATIONS[0])) not in ACTIVATIONS:
        raise WeightsError(f"{config} says hidden_act is {activation!r}.", f"CLIP has {' or '.join(ACTIVATIONS)}.")
    return replace(sizes, **told)


def outputs_for(recipe: Recipe) -> int:
    """How many outputs the head of a catalogue row must have: one per label.

    Raises:
        CatalogueError: the row has options; no detector on CLIP takes any.
        WeightsError: its labels do not tell fake from real.
    """
    recipe.accept_options()
    fake_logits(np.zeros((1, len(recipe.labels)), np.float32), recipe.labels)
    return len(recipe.labels)


def check_view(recipe: Recipe, tower: Tower) -> None:
    """Raises `CatalogueError` if the row's view is not of the size the tower looks at."""
    wanted = tower.sizes.image_size
    if recipe.view.size != wanted:
        raise CatalogueError(f"{recipe.id}: its view is of size {recipe.view.size}.", f"It must be {wanted}.")


def score_of_pictures(outputs: NDArray[np.float32], labels: Sequence[Class], times_s: NDArray[np.float64]) -> ClipScore:
    """The score of a clip judged picture by picture.

    Args:
        outputs: `(T, C)` of a head that was trained on single pictures.
        labels: what the `C` outputs stand for.
        times_s: `(T,)` seconds.

    Returns:
        The frames' logits of "fake", and their mean: log odds add up over observations, so a frame counts by how much
        it says, where a mean of probabilities would saturate and could not be calibrated by a line.
    """
    logits = fake_logits(outputs, labels)
    return ClipScore(
        logit=float(logits.mean()),
        per_frame_logits=tuple(float(v) for v in logits),
        times_s=tuple(float(t) for t in times_s),
    )
