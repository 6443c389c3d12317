"""Real and forged crops in pairs, made on the fly: each index of a seed is one pair, whoever makes it."""

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
from training.forgeries.self_blend import self_blend
from training.portraits import Portrait, load_portraits

VIEW = View(region="face", size=160, fit="squash", margin=0.3, count=16)
WORTH_OF_LARGE = 3.0  # how much oftener than a small face the largest is drawn: it shows what forging leaves


class ForgedPairs(Dataset[Tensor]):
    """Training pairs. Item `i` is `(2, 160, 160, 3)` uint8 RGB: a real crop and its forgery."""

    def __init__(self, data: Path, boxes_file: Path, seed: int) -> None:
        self.portraits = load_portraits(data, "train", boxes_file)
        self.seed = seed
        sides = np.array([np.max(p.box_xyxy[2:] - p.box_xyxy[:2]) for p in self.portraits])
        worth = np.clip(sides / np.median(sides), 1, WORTH_OF_LARGE)
        self.odds = worth / worth.sum()

    def __getitem__(self, index: int) -> Tensor:
        rng = np.random.default_rng([self.seed, index])
        portrait = self.portraits[int(rng.choice(len(self.portraits), p=self.odds))]
        return torch.from_numpy(forged_pair(portrait, rng))


def forged_pair(portrait: Portrait, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One real crop and its forgery through the same history, `(2, 160, 160, 3)` uint8 RGB."""
    pair = self_blend(portrait, rng)
    how = draw_degradation(rng)
    crops = [degrade(rgb, portrait.box_xyxy, how, VIEW.margin, VIEW.size) for rgb in (pair.real, pair.forged)]
    return np.stack(crops)


def batches(pairs: ForgedPairs, batch_pairs: int, first_step: int, steps: int, workers: int) -> DataLoader[Tensor]:
    """Batches `(B, 2, 160, 160, 3)` of the steps from `first_step` on, so that a resumed run sees the same."""
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
