"""`color-cues-lstm-v1`: an LSTM over histograms of the colours of a face, on clips made of portraits."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.color_cues_lstm import ColorCues
from models.types import View
from training.color_clips import HISTORIES, LEVELS, ColorClips, Sight
from training.forgeries.families import FAMILIES, TRAINING_ODDS
from training.portraits import load_portraits
from training.recipes.color_figures import Beside, beside_measures, line, write_figures
from training.recipes.fit import Plan, fit
from training.recipes.forging import forging_nets
from training.recipes.recipe import Order, Recipe, Trained, write_half
from training.recipes.store import stored

WINDOW = 8  # frames that are judged as a whole; 32 as published would need faces in twice as many frames
COUNT = 16  # as many as mobilenet-sbi-v1 takes, so that no face has to be found for this detector alone
SIGHT = Sight(View(region="face", size=64, margin=0.1, count=COUNT, minimum=WINDOW), bins=32, frames=WINDOW)
HIDDEN, INNER = 64, 32
CLIPS, SMOKE_CLIPS = 1500, 4  # forged clips, each with a few histories
BATCH_PAIRS = 32
RATES = {"": 3e-3}
DROPOUT = 0.3
FIGURES = "figures.json"
PEAK = 255.0  # of every histogram; the network is trained on shares of it


class ColorTask:
    """Tell the histograms of a real clip from those of its forgery; satisfies `training.recipes.fit.Task`.

    Args:
        net: to train, for histograms of a peak of 1.
        learnt: `(N, HISTORIES, 2, T, bins * bins)` uint8, real then forged.
        judged: `(M, len(LEVELS), 2, T, bins * bins)` uint8, the families of one person in a row.
        seed: of the order of the clips.
    """

    rates = RATES

    def __init__(self, net: ColorCues, learnt: Tensor, judged: Tensor, seed: int) -> None:
        self.net: nn.Module = net
        self._learnt = learnt.flatten(0, 1)
        self._judged = judged[:, 0]
        self._seed = seed

    def batches(self, first_step: int, steps: int) -> Iterator[Sequence[Tensor]]:
        """`(B, 2, T, bins * bins)` uint8; clips are drawn with repetition."""
        for step in range(first_step, steps):
            rng = np.random.default_rng([self._seed, step])
            yield [self._learnt[rng.integers(len(self._learnt), size=BATCH_PAIRS)]]

    def loss(self, net: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        """Cross-entropy of single clips."""
        clips = batch[0].flatten(0, 1).float() / PEAK
        labels = torch.tensor([0.0, 1.0], device=clips.device).repeat(len(batch[0]))
        assert isinstance(net, ColorCues)
        return functional.binary_cross_entropy_with_logits(_with_dropout(net, clips).float(), labels)

    def validate(self, net: nn.Module) -> dict[str, float]:
        """AUC of clips of other persons after a drawn history: per family, and the mean of those of training."""
        logits = logits_of(net, self._judged)
        by_family = {family: pair_auc(logits[i :: len(FAMILIES)]) for i, family in enumerate(FAMILIES)}
        return {"auc": float(np.mean([by_family[family] for family in TRAINING_ODDS])), **by_family}


def pair_auc(logits: Tensor) -> float:
    """Area under the ROC curve of `(N, 2)` logits, real then forged."""
    return float(roc_auc_score(np.tile([0, 1], len(logits)), logits.flatten().numpy()))


@torch.inference_mode()
def logits_of(net: nn.Module, pairs: Tensor, batch: int = 64) -> Tensor:
    """Logits `(N, 2)` on the CPU of `(N, 2, T, bins * bins)` histograms in [0, 255]."""
    device = next(net.parameters()).device
    parts = (pairs[at : at + batch].flatten(0, 1).to(device).float() / PEAK for at in range(0, len(pairs), batch))
    return torch.cat([net(part).float().cpu() for part in parts]).view(-1, 2)


def train(order: Order) -> Trained:
    """From portraits to `out/color-cues-lstm-v1.safetensors`."""
    learnt, judged = _clips(order)
    task = ColorTask(new_net(order.seed), learnt, judged, order.seed)
    course = fit(task, order.plan, order.out, RECIPE.id)
    rows = beside_all(task.net, judged)
    write_figures(order.out / FIGURES, rows)
    print("\n".join(line(row) for row in rows), flush=True)
    return Trained(write_half(for_full_histograms(task.net), order.out / f"{RECIPE.id}.safetensors"), course)


def beside_all(net: nn.Module, judged: Tensor) -> list[Beside]:
    """Every family after every history, beside the plain measure that does best there."""
    rows = []
    for k, level in enumerate(LEVELS):
        logits = logits_of(net, judged[:, k]).double().numpy()
        for i, family in enumerate(FAMILIES):
            of_family = slice(i, None, len(FAMILIES))
            rows.append(beside_measures(level, family, logits[of_family], judged[of_family, k].numpy()))
    return rows


def _clips(order: Order) -> tuple[Tensor, Tensor]:
    """Histograms to learn from and to judge by, made unless they are there."""
    nets, kept = forging_nets(order), order.out / "clips"
    faces, others = (
        ColorClips(load_portraits(order.data, split, order.shared / "boxes.json"), nets, SIGHT, order.seed)
        for split in ("train", "val")
    )
    count = SMOKE_CLIPS if order.smoke else CLIPS
    shapes = (count, *faces.shape(HISTORIES)), (len(others.portraits) * len(FAMILIES), *others.shape(len(LEVELS)))
    learnt = stored(kept / f"learnt-{order.seed}.npy", shapes[0], faces.learnt, order.workers, "clips to learn from")
    judged = stored(kept / "judged.npy", shapes[1], others.judged, order.workers, "clips to judge by")
    return torch.from_numpy(learnt), torch.from_numpy(judged)


def new_net(seed: int) -> ColorCues:
    """A network with random weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ColorCues(SIGHT.bins**2, HIDDEN, INNER)


def for_full_histograms(net: nn.Module) -> nn.Module:
    """The network for histograms as the detector makes them, whose peak is 255; `net` itself is changed."""
    with torch.no_grad():
        net.get_parameter("lstm.weight_ih_l0").div_(PEAK)
    return net


def _with_dropout(net: ColorCues, clips: Tensor) -> Tensor:
    """Logits `(N,)`; dropout where the published network has it, between the LSTM and the layers after it."""
    steps, _ = net.lstm(clips)
    last = functional.dropout(steps[:, -1], DROPOUT)
    logits: Tensor = net.fc2(functional.dropout(functional.relu(net.fc1(last)), DROPOUT))
    return logits[:, 0]


RECIPE = Recipe("color-cues-lstm-v1", Plan(steps=1200, check_every=50), train)
