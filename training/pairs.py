"""Real and forged crops in pairs, made on the fly: each index of a seed is one pair, whoever makes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.types import View
from training.augment import degrade, draw_degradation
from training.forgeries.families import FAMILIES, TRAINING_ODDS, Forger, draw_family
from training.portraits import Portrait

WORTH_OF_LARGE = 3.0  # how much oftener than a small face the largest is drawn: it shows what forging leaves
VAL_SEED = 7


class ForgedPairs(Dataset[tuple[Tensor]]):
    """Training pairs. Item `i` is one tensor `(2, S, S, 3)` uint8 RGB: a real crop and its forgery.

    Args:
        portraits: of the training split.
        nets: folder of the face autoencoders that forge.
        view: how crops are cut.
        seed: of every random choice, together with the index.
        families: how often each family of forgeries is drawn.
    """

    def __init__(
        self,
        portraits: Sequence[Portrait],
        nets: Path,
        view: View,
        seed: int,
        families: Mapping[str, float] = TRAINING_ODDS,
    ) -> None:
        self.portraits = portraits
        self.families = families
        self.view = view
        self.seed = seed
        self._forger = Forger(portraits, nets)
        sides = np.array([np.max(p.box_xyxy[2:] - p.box_xyxy[:2]) for p in portraits])
        worth = np.clip(sides / np.median(sides), 1, WORTH_OF_LARGE)
        self.odds = worth / worth.sum()

    def __getitem__(self, index: int) -> tuple[Tensor]:
        rng = np.random.default_rng([self.seed, index])
        portrait = self.portraits[int(rng.choice(len(self.portraits), p=self.odds))]
        return (torch.from_numpy(forged_pair(self._forger, draw_family(rng, self.families), portrait, self.view, rng)),)


def forged_pair(
    forger: Forger, family: str, portrait: Portrait, view: View, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One real crop and its forgery through the same history, `(2, S, S, 3)` uint8 RGB."""
    pair = forger.forge(family, portrait, rng)
    how = draw_degradation(rng)
    crops = [degrade(rgb, portrait.box_xyxy, how, view.margin, view.size) for rgb in (pair.real, pair.forged)]
    return np.stack(crops)


def validation_pairs(portraits: Sequence[Portrait], nets: Path, view: View) -> dict[str, NDArray[np.uint8]]:
    """`(N, 2, S, S, 3)` uint8 RGB by family: one degraded pair of every portrait, the same in every run."""
    forger = Forger(portraits, nets)
    return {
        family: np.stack(
            [
                forged_pair(forger, family, portrait, view, np.random.default_rng([VAL_SEED, number, i]))
                for i, portrait in enumerate(portraits)
            ]
        )
        for number, family in enumerate(FAMILIES)
    }


def batches(
    pairs: ForgedPairs, batch_pairs: int, first_step: int, steps: int, workers: int
) -> DataLoader[tuple[Tensor]]:
    """Batches `(B, 2, S, S, 3)` of the steps from `first_step` on, so that a resumed run sees the same."""
    return DataLoader(
        pairs,
        batch_size=batch_pairs,
        sampler=range(first_step * batch_pairs, steps * batch_pairs),
        num_workers=workers,
        prefetch_factor=8 if workers else None,
        worker_init_fn=_single_threaded,
    )


def _single_threaded(_worker: int) -> Any:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
