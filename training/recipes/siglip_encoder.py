"""The compact SigLIP vision encoder of `siglip-lstm-v1` and `-v3`: learns from single crops, once for both.

A transformer learns slowly from a thousand faces, so it does not learn from labels alone: it also has to say what the
bundled MobileNetV2 sees, in every place and in the whole (distillation; Hinton, Vinyals and Dean, 2015, and for
features Romero et al., "FitNets", ICLR 2015). Its first layer starts as filters of whitened pixels: forging shows in
fine detail, which raw pixels drown in what is large and smooth.

Pairs are forged once and looked at several times, since forging one costs more than a step of this small network; and
each look is at a third of the patches (Li et al., "Scaling Language-Image Pre-training via Masking", CVPR 2023), which
cuts the cost of a step to a third.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.siglip import SiglipVisionConfig, SiglipVisionModel

from models.detectors.device import to_float
from models.detectors.mobilenet_sbi import FEATURES, STAGES, MobileNetV2, read_net, to_input
from models.detectors.siglip_lstm import LEVEL
from models.detectors.store import BUNDLED
from models.types import View
from training.forgeries.families import TRAINING_ODDS
from training.pairs import ForgedPairs, validation_pairs
from training.portraits import load_portraits
from training.recipes.fit import fit
from training.recipes.forging import forging_nets
from training.recipes.recipe import Order
from training.recipes.store import stored

VIEW = View(region="face", size=160, fit="squash", margin=0.3, count=16)  # as mobilenet-sbi-v1's: cut once for both
PATCH, WIDTH = 16, 192
ENCODER = SiglipVisionConfig(
    hidden_size=WIDTH,
    intermediate_size=2 * WIDTH,
    num_hidden_layers=4,
    num_attention_heads=6,
    image_size=VIEW.size,
    patch_size=PATCH,
)
TEACHER = BUNDLED / "mobilenet-sbi-v1.safetensors"
PATCHES = (VIEW.size // PATCH) ** 2
MAP_STAGES = 5  # of MobileNetV2: what they give lies as our patches do, 10 by 10
MAP_CHANNELS = 96
PAIRS = 2400
SEEN_PATCHES = 34  # of 100, in each look of training
BATCH_PAIRS = 12
RATES = {"": 1e-3}  # AdamW
SMOOTH = 64  # filters of the first layer that keep what is large; the others start in fine detail
WHITENED_FROM, SMOKE_PATCHES = 40_000, 1000  # patches
LOOKED_AT = 32  # crops per forward pass without gradients


class Student(nn.Module):
    """The encoder with the head for single pictures, and two linear maps to what the teacher sees.

    Attribute names of the first two are those of the detector's checkpoint.
    """

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.siglip_backbone = SiglipVisionModel(config)
        self.image_classifier = nn.Linear(config.hidden_size, 1)
        self.to_map = nn.Linear(config.hidden_size, MAP_CHANNELS)
        self.to_pooled = nn.Linear(config.hidden_size, FEATURES)

    def forward(self, crops: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """What is seen of some patches alone: pooled `(N, D)`, and of each patch `(N, K, D)`.

        Args:
            crops: `(N, 160, 160, 3)` uint8 RGB.
            kept: `(N, K)` int64, the patches that are looked at, row by row.
        """
        encoder = self.siglip_backbone
        patches = encoder.embeddings(to_float(crops, 1 / 255, LEVEL, LEVEL))
        seen = encoder.encoder(inputs_embeds=gathered(patches, kept)).last_hidden_state
        seen = encoder.post_layernorm(seen)
        return encoder.head(seen), seen


@dataclass(frozen=True, slots=True)
class Lessons:
    """Pairs of crops and what the teacher sees in them, each feature with mean 0 and spread 1 over all.

    Attributes:
        crops: `(N, 2, 160, 160, 3)` uint8 RGB, real then forged.
        maps: `(N, 2, 100, 96)` float16, of the patches.
        pooled: `(N, 2, 1280)` float16.
        p_fake: `(N, 2)` float16 in [0, 1].
    """

    crops: NDArray[np.uint8]
    maps: Tensor
    pooled: Tensor
    p_fake: Tensor


class EncoderTask:
    """Tell real from forged, and say what the teacher sees; satisfies `training.recipes.fit.Task`.

    Args:
        net: to start from.
        lessons: of the training split.
        val: `(N, 2, 160, 160, 3)` uint8 RGB by family.
        seed: of the order of pairs.
    """

    rates = RATES

    def __init__(self, net: Student, lessons: Lessons, val: dict[str, NDArray[np.uint8]], seed: int) -> None:
        self.net: nn.Module = net
        self._lessons = lessons
        self._val = val
        self._seed = seed

    def batches(self, first_step: int, steps: int) -> Iterator[Sequence[Tensor]]:
        """Crops, maps, pooled features and probabilities of 12 pairs each, mirrored or not, and the patches to see."""
        for step in range(first_step, steps):
            rng = np.random.default_rng([self._seed, step])
            chosen = np.sort(rng.choice(len(self._lessons.crops), BATCH_PAIRS, replace=False))
            order = rng.permuted(np.tile(np.arange(PATCHES), (BATCH_PAIRS, 1)), axis=1)[:, None, :SEEN_PATCHES]
            kept = torch.from_numpy(order.repeat(2, axis=1))  # the same of a picture and of its forgery
            yield *lesson(self._lessons, chosen, mirrored=bool(rng.integers(2))), kept

    def loss(self, net: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        """Cross-entropy with the label and with the teacher's word, and the distance to both kinds of features."""
        assert isinstance(net, Student)
        crops, maps, whole, p_fake, kept = (part.flatten(0, 1) for part in batch)
        pooled, patches = net(crops, kept)
        maps = gathered(maps, kept)
        labels = torch.tensor([0.0, 1.0], device=crops.device).repeat(len(batch[0]))
        logits = net.image_classifier(pooled)[:, 0].float()
        told = functional.binary_cross_entropy_with_logits(logits, (labels + p_fake.float()) / 2)
        shown = functional.mse_loss(net.to_map(patches).float(), maps.float())
        return 2 * told + shown + functional.mse_loss(net.to_pooled(pooled).float(), whole.float())

    def validate(self, net: nn.Module) -> dict[str, float]:
        """AUC of single crops: per family, and the mean of the families of training."""
        assert isinstance(net, Student)
        by_family = {family: _pair_auc(net, pairs) for family, pairs in self._val.items()}
        return {"auc": float(np.mean([by_family[family] for family in TRAINING_ODDS])), **by_family}


def lesson(lessons: Lessons, chosen: NDArray[np.intp], *, mirrored: bool) -> Sequence[Tensor]:
    """Some of the pairs with what the teacher sees, as `EncoderTask.loss` takes them."""
    crops, maps = torch.from_numpy(lessons.crops[chosen]), lessons.maps[chosen]
    if mirrored:
        crops = crops.flip(3)
        maps = maps.reshape(len(maps), 2, -1, VIEW.size // PATCH, MAP_CHANNELS).flip(3).flatten(2, 3)
    return crops, maps, lessons.pooled[chosen], lessons.p_fake[chosen]


def gathered(rows: Tensor, kept: Tensor) -> Tensor:
    """Of `(N, L, C)` the rows `(N, K)` that are named, `(N, K, C)`."""
    return rows.gather(1, kept[..., None].expand(-1, -1, rows.shape[-1]))


def encoder_of(order: Order) -> dict[str, Tensor]:
    """Weights of the encoder and its picture head by the checkpoint's keys; trained first if they are not there."""
    folder = encoder_folder(order)
    path = folder / "encoder.safetensors"
    if not path.exists():
        save_file(_trained(order, folder), path)
    return load_file(path)


def encoder_folder(order: Order) -> Path:
    """Where both detectors keep what they share."""
    return order.shared / "siglip"


def stored_pairs(order: Order) -> NDArray[np.uint8]:
    """The training pairs, `(N, 2, 160, 160, 3)` uint8 RGB."""
    count = 2 * BATCH_PAIRS if order.smoke else PAIRS
    nets = forging_nets(order)
    pairs = ForgedPairs(load_portraits(order.data, "train", order.shared / "boxes.json"), nets, VIEW, order.seed)
    shape = (count, 2, VIEW.size, VIEW.size, 3)
    path = encoder_folder(order) / "pairs.npy"
    return stored(path, shape, lambda index: np.asarray(pairs[index][0]), order.workers, "pairs")


def new_student(crops: NDArray[np.uint8], seed: int, patches: int = WHITENED_FROM) -> Student:
    """A student with random weights but for its first layer, which is fitted to patches of the crops."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = Student(ENCODER)
    rng = np.random.default_rng(seed)
    layer = student.siglip_backbone.embeddings.patch_embedding
    filters, bias = whitening_filters(patches_of(crops, patches, rng), WIDTH, SMOOTH, rng)
    layer.weight.data.copy_(torch.from_numpy(filters.reshape(WIDTH, PATCH, PATCH, 3)).permute(0, 3, 1, 2))
    layer.bias = nn.Parameter(torch.from_numpy(bias).float())
    return student


def patches_of(crops: NDArray[np.uint8], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`(count, 768)` pixels in [-1, 1] of patches drawn from anywhere in `(N, 2, S, S, 3)` crops."""
    size = crops.shape[2] - PATCH
    drawn = [
        crops[i, side, y : y + PATCH, x : x + PATCH]
        for i, side, y, x in zip(
            np.sort(rng.integers(len(crops), size=count)),
            rng.integers(2, size=count),
            *rng.integers(size + 1, size=(2, count)),
            strict=True,
        )
    ]
    patches: NDArray[np.float64] = np.stack(drawn).reshape(count, -1) / 127.5 - 1
    return patches


def whitening_filters(
    patches: NDArray[np.float64], count: int, smooth: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Filters whose answers to the patches have mean 0 and a like spread.

    Args:
        patches: `(K, P)` pixels.
        count: of filters.
        smooth: how many are the patches' strongest principal components; the others mix all that are weaker.
        rng: draws the mixture.

    Returns:
        `(count, P)` and the bias `(count,)`.
    """
    mean = patches.mean(axis=0)
    variances, components = np.linalg.eigh(np.cov(patches - mean, rowvar=False))
    whitening = (components / np.sqrt(variances + 1e-4))[:, ::-1].T  # strongest first; what is noise is not blown up
    mixture, _ = np.linalg.qr(rng.standard_normal((whitening.shape[0] - smooth, count - smooth)))
    filters: NDArray[np.float64] = np.concatenate([whitening[:smooth], mixture.T @ whitening[smooth:]])
    return filters, -filters @ mean


@torch.inference_mode()
def teach(teacher: MobileNetV2, crops: NDArray[np.uint8]) -> Lessons:
    """What the teacher sees in `(N, 2, 160, 160, 3)` uint8 RGB pairs."""
    last = sum(repeats for _, _, repeats, _ in STAGES[:MAP_STAGES])
    seen = []
    for at in track(range(0, len(crops), LOOKED_AT // 2), "what the teacher sees"):
        picture = to_input(torch.from_numpy(crops[at : at + LOOKED_AT // 2]).flatten(0, 1))
        middle = teacher.blocks[:last](functional.relu6(teacher.stem(picture)))
        pooled = functional.relu6(teacher.top(teacher.blocks[last:](middle))).mean(dim=(2, 3))
        p_fake = torch.sigmoid(teacher.head(pooled)[:, 0])
        seen.append((middle.flatten(2).transpose(1, 2).half(), pooled.half(), p_fake.half()))
    maps, pooled, p_fake = (
        torch.cat(part).reshape(len(crops), 2, *part[0].shape[1:]) for part in zip(*seen, strict=True)
    )
    return Lessons(crops, _standardised(maps), _standardised(pooled), p_fake)


@torch.inference_mode()
def features_of(net: nn.Module, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pooled features `(N, D)` of crops `(N, 160, 160, 3)` uint8 RGB by a net that has a `siglip_backbone`."""
    device = next(net.parameters()).device
    parts = [torch.from_numpy(crops[at : at + LOOKED_AT]).to(device) for at in range(0, len(crops), LOOKED_AT)]
    backbone: nn.Module = net.siglip_backbone  # type: ignore[assignment]
    seen = [backbone(to_float(part, 1 / 255, LEVEL, LEVEL)).pooler_output for part in parts]
    return torch.cat(seen).float().cpu().numpy()


def _trained(order: Order, folder: Path) -> dict[str, Tensor]:
    pairs = stored_pairs(order)
    val = load_portraits(order.data, "val", order.shared / "boxes.json")
    teacher = order.shared / "teacher.safetensors"
    lessons = _lessons(teacher if teacher.exists() else TEACHER, pairs, folder)
    judged = validation_pairs(val, forging_nets(order), VIEW)
    student = new_student(pairs, order.seed, SMOKE_PATCHES if order.smoke else WHITENED_FROM)
    task = EncoderTask(student, lessons, judged, order.seed)
    fit(task, order.plan, folder / "encoder", "siglip encoder")
    kept = ("siglip_backbone.", "image_classifier.")
    return {key: value.contiguous() for key, value in task.net.state_dict().items() if key.startswith(kept)}


def _lessons(teacher: Path, pairs: NDArray[np.uint8], folder: Path) -> Lessons:
    """The teacher's features, kept beside the pairs under a name that says whose they are."""
    path = folder / f"lessons-{sha256(teacher.read_bytes()).hexdigest()[:8]}.safetensors"
    if not path.exists():
        seen = teach(read_net(teacher), pairs)
        save_file({"maps": seen.maps, "pooled": seen.pooled, "p_fake": seen.p_fake}, path)
    return Lessons(pairs, **load_file(path))


def _standardised(features: Tensor) -> Tensor:
    """`(N, 2, ..., C)` with mean 0 and spread 1 of each channel, in half precision."""
    flat = features.float().flatten(0, -2)
    return ((features.float() - flat.mean(dim=0)) / (flat.std(dim=0) + 1e-3)).half()


def _pair_auc(net: Student, pairs: NDArray[np.uint8]) -> float:
    features = torch.from_numpy(features_of(net, pairs.reshape(-1, *pairs.shape[2:])))
    logits = features @ net.image_classifier.weight[0].detach().float().cpu()  # the bias moves no curve
    return float(roc_auc_score(np.tile([0, 1], len(pairs)), logits.numpy()))
