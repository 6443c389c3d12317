"""`mobilenet-sbi-v1`: MobileNetV2 from ImageNet weights, on pairs of a real face and its forgery.

First on self-blends alone, then on all families of forgeries, and the weights of the two are averaged: fine-tuning
buys the new families at the price of what the first training knew, and the average keeps most of both (Wortsman et
al., "Robust fine-tuning of zero-shot models", CVPR 2022). Measured on the validation portraits, AUC of single crops:
self-blends .891, .865 and .850 (first, average, second), swaps .687, .870, .904, the unseen family .728, .969, .980.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.mobilenet_sbi import MobileNetV2, to_input
from models.types import View
from training.forgeries.families import TRAINING_ODDS
from training.imagenet import FILE, imagenet_net
from training.pairs import ForgedPairs, batches, validation_pairs
from training.portraits import Portrait, load_portraits
from training.recipes.fit import Course, Plan, fit
from training.recipes.forging import forging_nets
from training.recipes.recipe import FACES, Order, Recipe, Trained, write_half

VIEW = View(region="face", size=160, fit="squash", margin=0.3, count=16)
BATCH_PAIRS, SMOKE_PAIRS = 12, 2
RATES = {"": 3e-4, "head": 1.5e-3}  # AdamW; the head starts from nothing and may run ahead
SELF_BLENDS = {"self_blend": 1.0}
FIRST = 0.4  # of the run is on self-blends alone
SECOND_WEIGHT = 0.7  # of the second training in the average of weights
DROPOUT = 0.2  # of pooled features, MobileNetV2's own figure


class BlendTask:
    """Tell a real crop from its forgery; satisfies `training.recipes.fit.Task`.

    Args:
        net: to start from.
        train: portraits that are forged in training.
        val: portraits of other persons.
        nets: folder of the face autoencoders that forge.
        seed: of every pair.
        workers: forging processes; 0 forges in this one.
        families: how often each family of forgeries is drawn.
        batch_pairs: pairs of one step.
    """

    rates = RATES

    def __init__(
        self,
        net: MobileNetV2,
        train: Sequence[Portrait],
        val: Sequence[Portrait],
        nets: Path,
        *,
        seed: int,
        workers: int,
        families: Mapping[str, float] = TRAINING_ODDS,
        batch_pairs: int = BATCH_PAIRS,
    ) -> None:
        self.net: nn.Module = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._pairs = ForgedPairs(train, nets, VIEW, seed, families)
        self._val = validation_pairs(val, nets, VIEW)
        self._workers = workers
        self._batch_pairs = batch_pairs

    def batches(self, first_step: int, steps: int) -> Iterable[Sequence[Tensor]]:
        """`(B, 2, 160, 160, 3)` uint8 RGB, real then forged."""
        return batches(self._pairs, self._batch_pairs, first_step, steps, self._workers)

    def loss(self, net: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        """Cross-entropy of single crops."""
        crops = batch[0].flatten(0, 1)
        labels = torch.tensor([0.0, 1.0], device=crops.device).repeat(len(batch[0]))
        features = functional.dropout(net(to_input(crops)), DROPOUT)
        assert isinstance(net, MobileNetV2)
        return functional.binary_cross_entropy_with_logits(net.head(features)[:, 0].float(), labels)

    def validate(self, net: nn.Module) -> dict[str, float]:
        """AUC of single crops: per family, and the mean of the families of training."""
        assert isinstance(net, MobileNetV2)
        by_family = {family: pair_auc(net, pairs) for family, pairs in self._val.items()}
        return {"auc": float(np.mean([by_family[family] for family in TRAINING_ODDS])), **by_family}


def pair_auc(net: MobileNetV2, pairs: NDArray[np.uint8]) -> float:
    """Area under the ROC curve of `(N, 2, H, W, 3)` pairs, real then forged."""
    logits = logits_of(net, pairs.reshape(-1, *pairs.shape[2:]))
    return float(roc_auc_score(np.tile([0, 1], len(pairs)), logits))


@torch.inference_mode()
def logits_of(net: MobileNetV2, crops: NDArray[np.uint8], batch: int = 32) -> NDArray[np.float32]:
    """Logits `(N,)` of crops `(N, H, W, 3)` uint8 RGB."""
    device = net.head.weight.device
    parts = [torch.from_numpy(crops[at : at + batch]).to(device) for at in range(0, len(crops), batch)]
    return np.concatenate([net.head(net(to_input(part)))[:, 0].float().cpu().numpy() for part in parts])


def starting_net(order: Order) -> MobileNetV2:
    """With ImageNet weights and a head near nothing; in a smoke run, which has none, with random weights."""
    if order.smoke:
        print("smoke: no ImageNet weights here, the network starts from random ones", flush=True)
        torch.manual_seed(order.seed)
        net = MobileNetV2()
    else:
        net, _, _ = imagenet_net(order.data / FILE)
    nn.init.normal_(net.head.weight, std=0.01, generator=torch.Generator().manual_seed(order.seed))
    nn.init.zeros_(net.head.bias)
    return net


def train(order: Order) -> Trained:
    """From ImageNet weights to `out/mobilenet-sbi-v1.safetensors`."""
    nets = forging_nets(order)
    first, _ = _learnt(starting_net(order), order, nets, SELF_BLENDS, FIRST)
    second, course = _learnt(copy.deepcopy(first), order, nets, TRAINING_ODDS, 1 - FIRST)
    return Trained(write_half(averaged(first, second), order.out / f"{RECIPE.id}.safetensors"), course)


def averaged(first: MobileNetV2, second: MobileNetV2) -> MobileNetV2:
    """A network whose every weight lies between those of two, nearer the second."""
    net, other = copy.deepcopy(first), second.state_dict()
    net.load_state_dict({key: value.lerp(other[key], SECOND_WEIGHT) for key, value in first.state_dict().items()})
    return net


def _learnt(
    net: MobileNetV2, order: Order, nets: Path, families: Mapping[str, float], share: float
) -> tuple[MobileNetV2, Course]:
    """The network after one of the two trainings, whose checkpoints and curves lie in a folder of their own."""
    faces, others = (load_portraits(order.data, split, order.shared / "boxes.json") for split in ("train", "val"))
    first = families is SELF_BLENDS
    task = BlendTask(
        net,
        faces,
        others,
        nets,
        seed=order.seed if first else order.seed + 1,
        workers=order.workers,
        families=families,
        batch_pairs=SMOKE_PAIRS if order.smoke else BATCH_PAIRS,
    )
    plan = replace(order.plan, steps=max(1, round(share * order.plan.steps)), minutes=share * order.plan.minutes)
    course = fit(task, plan, order.out / "self_blends" if first else order.out, RECIPE.id)
    return net, course


RECIPE = Recipe("mobilenet-sbi-v1", Plan(steps=6200), train, needs=(*FACES, str(FILE)))
