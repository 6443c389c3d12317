"""Rows that cost more to make than to read, kept on disk: made once, in order, and gone on with after an end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.recipes.errors import TrainingError

SAVE_EVERY = 20  # rows


class Rows(Dataset[Tensor]):
    """Rows by index, each made from nothing but the index.

    Args:
        make: row `(...)` uint8 of an index.
    """

    def __init__(self, make: Callable[[int], NDArray[np.uint8]]) -> None:
        self._make = make

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self._make(index))


def stored(
    path: Path, shape: tuple[int, ...], make: Callable[[int], NDArray[np.uint8]], workers: int, name: str
) -> NDArray[np.uint8]:
    """All rows of a file, those that are not there made first.

    Args:
        path: a `.npy`; beside it `.rows` says how many are made.
        shape: `(N, ...)` of all rows.
        make: one row; equal indices must give equal rows.
        workers: processes that make rows; 0 makes them in this one.
        name: of the progress bar.

    Returns:
        `(N, ...)` uint8, read from disk when it is looked at.

    Raises:
        TrainingError: the file holds rows of another shape.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    counter = path.with_suffix(".rows")
    done = int(counter.read_text("utf-8")) if counter.exists() else 0
    rows = np.lib.format.open_memmap(path, "r+" if done else "w+", np.uint8, None if done else shape)
    if rows.shape != shape:
        raise TrainingError(f"{path} holds rows of {rows.shape}, not {shape}.", "Remove it to make them anew.")
    todo = range(done, shape[0])
    loader = DataLoader(Rows(make), batch_size=None, sampler=todo, num_workers=workers, worker_init_fn=_single_threaded)
    for index, row in zip(todo, track(loader, name, total=len(todo), disable=not todo), strict=True):
        rows[index] = row.numpy()
        if (index + 1) % SAVE_EVERY == 0 or index + 1 == shape[0]:
            rows.flush()
            counter.write_text(str(index + 1), "utf-8")
    return rows


def _single_threaded(_worker: int) -> Any:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
