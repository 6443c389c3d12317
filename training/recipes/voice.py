"""`voice-v1`: a small spectral network, on pairs of a real voice and its copy by vocoders that were trained here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.voice_cnn import VoiceCnn, bands
from models.media.limits import SAMPLE_RATE_HZ
from training.forgeries.voice import FAMILIES as CLASSICAL
from training.recipes.fit import Plan, fit
from training.recipes.recipe import SPEECH, Order, Recipe, Trained, write_half
from training.vocoders.families import FAMILIES, SEED, SEEN, voice_families
from training.vocoders.net import ARCHITECTURES
from training.vocoders.pairs import FULL_SCALE, Family, Pairs, corpus, made
from training.vocoders.speech import recordings
from training.vocoders.train import train as train_vocoder
from training.vocoders.train import weights_path

BATCH_PAIRS = 12
CROP = 2 * SAMPLE_RATE_HZ  # samples; the mean over time lets windows of any length be scored
RATES = {"": 2e-3}  # AdamW
DROPOUT = 0.2  # of what is read from a window
NEURAL_ODDS = 0.5  # of a pair's copy being by a neural vocoder: what most synthetic speech ends in
WIDEST_GAP = 56  # bands left out of a batch at random, a quarter: no single band may decide
VOCODER_STEPS = 6_000


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is made for one run.

    Attributes:
        train: pairs of each family to train on.
        val: pairs of each family, seen or not, for the looks.
        vocoder_minutes: of training for each vocoder.
        vocoder_steps: at most.
    """

    train: int = 300
    val: int = 36
    vocoder_minutes: float = 12.0
    vocoder_steps: int = VOCODER_STEPS


FULL = Amounts()
SMOKE = Amounts(train=2, val=2, vocoder_minutes=0.2, vocoder_steps=2)


class VoiceTask:
    """Tell a real stretch of speech from its copy; satisfies `training.recipes.fit.Task`.

    Args:
        net: to start from.
        train: pairs by the name of the family.
        val: pairs of other speakers, of every family.
        seed: of every draw.
    """

    rates = RATES

    def __init__(self, net: VoiceCnn, train: Mapping[str, Pairs], val: Mapping[str, Pairs], seed: int) -> None:
        self.net: nn.Module = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._train = train
        self._val = val
        self._seed = seed

    def batches(self, first_step: int, steps: int) -> Iterator[Sequence[Tensor]]:
        """`(B, 2, CROP)` int16, real then copy."""
        for step in range(first_step, steps):
            yield (torch.from_numpy(self._batch(np.random.default_rng([self._seed, step]))),)

    def loss(self, net: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        """Cross-entropy of single stretches, a random gap in the bands of all of them."""
        assert isinstance(net, VoiceCnn)
        sound = batch[0].flatten(0, 1).float() / FULL_SCALE
        labels = torch.tensor([0.0, 1.0], device=sound.device).repeat(len(batch[0]))
        seen = functional.dropout(net.summary(with_gap(bands(sound))), DROPOUT)
        return functional.binary_cross_entropy_with_logits(net.head(seen)[:, 0].float(), labels)

    def validate(self, net: nn.Module) -> dict[str, float]:
        """AUC of single stretches: per family, and the mean of the families of training."""
        assert isinstance(net, VoiceCnn)
        by_family = {name: pair_auc(net, pairs) for name, pairs in self._val.items()}
        return {"auc": float(np.mean([by_family[name] for name in SEEN])), **by_family}

    def _batch(self, rng: np.random.Generator) -> NDArray[np.int16]:
        return np.stack([self._pair(rng) for _ in range(BATCH_PAIRS)])

    def _pair(self, rng: np.random.Generator) -> NDArray[np.int16]:
        pairs = self._train[draw_family(rng)]
        pair = pairs[int(rng.integers(len(pairs)))]
        start = int(rng.integers(pair.shape[1] - CROP + 1))
        return np.array(pair[:, start : start + CROP])


def draw_family(rng: np.random.Generator) -> str:
    """One of the families of training: neural ones by `NEURAL_ODDS`, each of a kind as often as another."""
    neural = rng.random() < NEURAL_ODDS
    return str(rng.choice([name for name in SEEN if (name in CLASSICAL) != neural]))


def with_gap(seen: Tensor) -> Tensor:
    """`(N, 1, F, T)` bands, some neighbours of them zero in every row; by torch's own generator."""
    width = int(torch.randint(0, WIDEST_GAP + 1, ()))
    first = int(torch.randint(0, seen.shape[2] - width + 1, ()))
    gap = torch.ones(seen.shape[2], device=seen.device)
    gap[first : first + width] = 0
    return seen * gap[:, None]


def pair_auc(net: VoiceCnn, pairs: Pairs) -> float:
    """Area under the ROC curve of `(N, 2, S)` pairs, real then copy."""
    logits = logits_of(net, pairs.reshape(-1, pairs.shape[2]))
    return float(roc_auc_score(np.tile([0, 1], len(pairs)), logits))


@torch.inference_mode()
def logits_of(net: VoiceCnn, sounds: Pairs, batch: int = 16) -> NDArray[np.float32]:
    """Logits `(N,)` of sounds `(N, S)` int16."""
    device = net.head.weight.device
    parts = [torch.from_numpy(np.array(sounds[at : at + batch])).to(device) for at in range(0, len(sounds), batch)]
    return np.concatenate([net(part.float() / FULL_SCALE)[:, 0].float().cpu().numpy() for part in parts])


def vocoders(order: Order, amounts: Amounts) -> Path:
    """The folder of one trained vocoder of each architecture; those that are not there are trained first."""
    folder = order.shared / "vocoders"
    for architecture in ARCHITECTURES:
        if not weights_path(folder, architecture, SEED, "late").exists():
            minutes, steps = amounts.vocoder_minutes, amounts.vocoder_steps
            loss = train_vocoder(order.data, folder, architecture, SEED, minutes=minutes, steps=steps)
            print(f"{architecture}: loss {loss:.3f}", flush=True)
    return folder


def voice_pairs(order: Order, split: str, families: Iterable[str], count: int) -> dict[str, Family]:
    """Pairs of each family of one split, made if they are not there."""
    vocode = voice_families(order.shared / "vocoders")
    speech = corpus(recordings(order.data, split))
    folder = order.shared / "voice_pairs"
    return {name: made(folder, split, name, vocode[name], speech, count) for name in families}


def train(order: Order) -> Trained:
    """From nothing to `out/voice-v1.safetensors`."""
    amounts = SMOKE if order.smoke else FULL
    vocoders(order, amounts)
    train_pairs = voice_pairs(order, "train", SEEN, amounts.train)
    val_pairs = voice_pairs(order, "val", FAMILIES, amounts.val)
    task = VoiceTask(new_net(order.seed), _mapped(train_pairs), _mapped(val_pairs), order.seed)
    course = fit(task, order.plan, order.out, RECIPE.id)
    return Trained(write_half(task.net, order.out / f"{RECIPE.id}.safetensors"), course)


def new_net(seed: int) -> VoiceCnn:
    """A network with the first weights of that seed."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return VoiceCnn()


def _mapped(families: Mapping[str, Family]) -> dict[str, Pairs]:
    return {name: family.pairs for name, family in families.items()}


RECIPE = Recipe("voice-v1", Plan(steps=4000, check_every=150, patience=8), train, SPEECH)
