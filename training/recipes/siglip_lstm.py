"""`siglip-lstm-v1` and `-v3`: features of a face track by the compact encoder, read in order by an LSTM each.

Both read the same clips and the same encoder. V1 judges 16 moments of a clip, those of `mobilenet-sbi-v1`, so that it
costs no more decoding; V3 judges 31, every second of which are those again, and windows of 16 that slide over them.

Stills and tracks that were lost half-way are prolonged by their last frame when they are served, so some of the
training clips are one repeated frame, or end early.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.siglip_lstm import SiglipLstm
from training.face_clips import clip_pair
from training.forgeries.families import FAMILIES, TRAINING_ODDS, Forger, draw_family
from training.pairs import VAL_SEED, ForgedPairs
from training.portraits import Portrait, Split, load_portraits
from training.recipes.fit import Plan, fit
from training.recipes.forging import forging_nets
from training.recipes.recipe import Order, Recipe, Trained, write_half
from training.recipes.siglip_encoder import ENCODER, VIEW, encoder_folder, encoder_of, features_of
from training.recipes.store import stored

FRAMES = 31  # of a clip; its even ones are the 16 of V1
SHORT = 16
CLIPS: dict[Split, int] = {"train": 160, "val": 64}
# Few clips: left to their labels an LSTM of 48 knew them by heart (validation AUC 0.71 after 100 steps, 0.54 after
# 400). So it is small, its features are blurred, and most of its target is what the picture head says of the frames.
LSTM = (16, 1)  # hidden size and layers
BATCH_CLIPS = 32
RATES = {"": 1e-3}
DROPOUT = 0.3  # of features
NOISE = 0.5  # of a feature's spread, the same in all frames of a clip: another face, another camera
SOFT = 0.7  # share of the target that is the picture head's
STILL, BRIEF = 0.2, 0.2  # share of clips that are one repeated frame, and that end early
LSTM_STEPS, LSTM_CHECK = 1000, 100
LSTM_SHARE = 0.2  # of the minutes, if the run is given minutes
CLIP_STREAM = 1000  # apart from the generators of `training.pairs`
SMOKE_CLIPS = len(FAMILIES)
PLAN = Plan(steps=20_000, check_every=1000)  # of the encoder


@dataclass(frozen=True, slots=True)
class Tracks:
    """Features of clips.

    Attributes:
        features: `(N, 2, 31, D)` float32, real then forged.
        families: `(N,)` names of the forgeries.
    """

    features: NDArray[np.float32]
    families: NDArray[np.str_]


class LstmTask:
    """Tell real tracks from forged ones by their features; satisfies `training.recipes.fit.Task`.

    Args:
        net: with a trained encoder, which stays as it is.
        train: to learn from.
        val: of other persons.
        lengths: of sequences, in turn; the first is the one that is judged in validation.
        seed: of every choice.
    """

    rates = RATES

    def __init__(self, net: SiglipLstm, train: Tracks, val: Tracks, lengths: Sequence[int], seed: int) -> None:
        self.net: nn.Module = net
        for part in (net.siglip_backbone, net.image_classifier):
            part.requires_grad_(requires_grad=False)
        self._train, self._val = train, val
        self._lengths = lengths
        self._spread = torch.from_numpy(train.features.std(axis=(0, 1, 2)))
        self._seed = seed

    def batches(self, first_step: int, steps: int) -> Iterator[Sequence[Tensor]]:
        """`(B, 2, L, D)` features of pairs of clips."""
        for step in range(first_step, steps):
            rng = np.random.default_rng([self._seed, step])
            length = self._lengths[step % len(self._lengths)]
            chosen = rng.integers(len(self._train.features), size=BATCH_CLIPS)
            pairs = [self._train.features[i][:, moments(length, rng)] for i in chosen]
            yield (torch.from_numpy(np.stack(pairs)),)

    def loss(self, net: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        """Cross-entropy of clips with their labels and with the picture head's mean over the frames."""
        assert isinstance(net, SiglipLstm)
        clips = batch[0].flatten(0, 1)
        labels = torch.tensor([0.0, 1.0], device=clips.device).repeat(len(batch[0]))
        with torch.no_grad():
            told = torch.sigmoid(net.image_classifier(clips).float().mean(dim=(1, 2)))
        noise = NOISE * self._spread.to(clips.device) * torch.randn(len(clips), 1, clips.shape[2], device=clips.device)
        logits = net.judge(functional.dropout(clips, DROPOUT, net.training) + noise)[:, 0].float()
        return functional.binary_cross_entropy_with_logits(logits, (1 - SOFT) * labels + SOFT * told)

    def validate(self, net: nn.Module) -> dict[str, float]:
        """AUC of clips: of the families of training together, of each, and of stills of all together."""
        assert isinstance(net, SiglipLstm)
        length, features, families = self._lengths[0], self._val.features, self._val.families
        logits = track_logits(net, features[:, :, even_moments(length)])
        by_family = {family: pair_auc(logits[families == family]) for family in FAMILIES}
        stills = track_logits(net, np.repeat(features[:, :, :1], length, axis=2))
        seen = np.isin(families, list(TRAINING_ODDS))
        return {"auc": pair_auc(logits[seen]), **by_family, "stills": pair_auc(stills)}


def moments(length: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Which of the 31 frames a sequence shows, `(length,)`: forwards or backwards, some cut short, some a still."""
    stride = int(rng.integers(1, (FRAMES - 1) // (length - 1) + 1))
    start = int(rng.integers(FRAMES - stride * (length - 1)))
    shown = np.arange(start, start + stride * length, stride)[:length]
    shown = shown[::-1] if rng.integers(2) else shown
    kind = rng.random()
    if kind < STILL:
        return np.full(length, rng.choice(shown), np.intp)
    if kind < STILL + BRIEF:
        return np.asarray(shown[np.minimum(np.arange(length), rng.integers(1, length))], np.intp)
    return np.asarray(shown, np.intp)


def even_moments(length: int) -> NDArray[np.intp]:
    """`(length,)` of the 31 frames, as evenly as the service takes them."""
    return np.rint(np.linspace(0, FRAMES - 1, length)).astype(np.intp)


@torch.inference_mode()
def track_logits(net: SiglipLstm, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits `(N, 2)` of `(N, 2, L, D)` features."""
    sequences = torch.from_numpy(np.ascontiguousarray(features)).to(next(net.lstm.parameters()).device)
    logits: NDArray[np.float32] = net.judge(sequences.flatten(0, 1))[:, 0].float().cpu().numpy()
    return logits.reshape(-1, 2)


def pair_auc(logits: NDArray[np.float32]) -> float:
    """Area under the ROC curve of `(N, 2)` logits, real then forged."""
    return float(roc_auc_score(np.tile([0, 1], len(logits)), logits.ravel()))


class TrackClips:
    """Pairs of clips by index: each index of a seed is one pair, whoever makes it.

    In training, people and families are drawn as `training.pairs` draws them; in validation, every person has one
    family, the families in turn.
    """

    def __init__(self, portraits: Sequence[Portrait], nets: Path, split: Split, seed: int) -> None:
        self._portraits = portraits
        self._forger = Forger(portraits, nets)
        self._odds = ForgedPairs(portraits, nets, VIEW, seed).odds
        self._trains = split == "train"
        self._seed = seed if self._trains else VAL_SEED

    def pair(self, index: int) -> NDArray[np.uint8]:
        """`(2, 31, 160, 160, 3)` uint8 RGB, real then forged."""
        portrait, family, rng = self._drawn(index)
        return clip_pair(self._forger, family, portrait, VIEW, FRAMES, rng)

    def family(self, index: int) -> str:
        """How the pair is forged."""
        return self._drawn(index)[1]

    def _drawn(self, index: int) -> tuple[Portrait, str, np.random.Generator]:
        rng = np.random.default_rng([self._seed, CLIP_STREAM, index])
        if not self._trains:
            return self._portraits[index % len(self._portraits)], FAMILIES[index % len(FAMILIES)], rng
        return self._portraits[int(rng.choice(len(self._portraits), p=self._odds))], draw_family(rng), rng


def tracks_of(order: Order, split: Split, net: SiglipLstm) -> Tracks:
    """Features of the clips of one split; clips that are not there are forged, and read by the encoder, first."""
    count = SMOKE_CLIPS if order.smoke else CLIPS[split]
    portraits = load_portraits(order.data, split, order.shared / "boxes.json")
    clips = TrackClips(portraits, forging_nets(order), split, order.seed)
    folder = encoder_folder(order)
    shape = (count, 2, FRAMES, VIEW.size, VIEW.size, 3)
    crops = stored(folder / f"clips-{split}.npy", shape, clips.pair, order.workers, f"{split} clips")
    path = folder / f"features-{split}-{fingerprint(net.siglip_backbone)}.npy"
    if not path.exists():
        np.save(path, _read(net, crops, split))
    return Tracks(np.load(path), np.array([clips.family(i) for i in range(count)]))


def fingerprint(net: nn.Module) -> str:
    """Eight digits that differ where a weight does."""
    content = b"".join(tensor.numpy().tobytes() for tensor in net.state_dict().values())
    return sha256(content).hexdigest()[:8]


def new_net(encoder: dict[str, Tensor], seed: int) -> SiglipLstm:
    """The detector's network with a trained encoder, and an LSTM and its head that are still random."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = SiglipLstm(ENCODER, LSTM, 0)
    net.load_state_dict(net.state_dict() | encoder)
    return net


def train(order: Order, name: str, lengths: Sequence[int]) -> Trained:
    """From portraits to `out/<name>.safetensors`."""
    net = new_net(encoder_of(order), order.seed)
    tracks, others = (tracks_of(order, split, net) for split in ("train", "val"))
    task = LstmTask(net, tracks, others, lengths, order.seed)
    course = fit(task, lstm_plan(order), order.out, name)
    return Trained(write_half(task.net, order.out / f"{name}.safetensors"), course)


def lstm_plan(order: Order) -> Plan:
    """How long the LSTM is trained, which is the lesser part: reading its features again costs next to nothing."""
    if order.smoke:
        return order.plan
    minutes = LSTM_SHARE * order.plan.minutes
    return replace(order.plan, steps=LSTM_STEPS, check_every=LSTM_CHECK, minutes=minutes)


def _read(net: SiglipLstm, crops: NDArray[np.uint8], split: Split) -> NDArray[np.float32]:
    rows = track(crops, f"{split} clips through the encoder", total=len(crops))
    flat = (features_of(net, pair.reshape(-1, *pair.shape[2:])) for pair in rows)
    return np.stack([features.reshape(2, FRAMES, -1) for features in flat])


V1 = Recipe("siglip-lstm-v1", PLAN, lambda order: train(order, "siglip-lstm-v1", (SHORT,)))
V3 = Recipe("siglip-lstm-v3", PLAN, lambda order: train(order, "siglip-lstm-v3", (FRAMES, SHORT)))
