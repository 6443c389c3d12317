"""Where a network computes: rows go there once, in micro-batches that shrink when memory runs out."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.detectors.contract import Rows
from models.types import Precision

Net = TypeVar("Net", bound=nn.Module)
LOGGER = logging.getLogger(__name__)
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Device:
    """One torch device and the precision of forward passes on it.

    Args:
        name: `cpu`, `cuda` or `cuda:1`.
        precision: `fp32` is exact: the same row scores the same in every batch. `bf16` and `fp16` are faster on a
            GPU and differ from it in the third digit.
    """

    def __init__(self, name: str, precision: Precision = "fp32") -> None:
        self.torch = torch.device(name)
        self.precision = precision
        if self.torch.type == "cuda":
            # TF32 keeps 10 bits, and which kernel rounds how depends on the batch: the same file, another score.
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False

    def place(self, net: Net, *, channels_last: bool = False) -> Net:
        """The network on this device, for inference; `channels_last` suits convolutions."""
        net.requires_grad_(False).eval()  # noqa: FBT003 - torch's signature
        if channels_last:
            return net.to(self.torch, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
        return net.to(self.torch)

    def encode(self, forward: Callable[[Tensor], Tensor], rows: Rows) -> NDArray[np.float32]:
        """Run a network over rows.

        Args:
            forward: `(N, ...)` on this device, of the rows' dtype, to `(N, D)`.
            rows: `(N, ...)` uint8 or float32; may be read-only. Copied to the device once, as they are.

        Returns:
            `(N, D)` float32.

        Raises:
            torch.OutOfMemoryError: not even one row fits.
        """
        try:
            return self._pass(forward, rows)
        except torch.OutOfMemoryError:
            if len(rows) < 2:  # noqa: PLR2004 - one row cannot be halved
                raise
        if self.torch.type == "cuda":
            torch.cuda.empty_cache()
        half = len(rows) // 2
        LOGGER.warning("out of memory with %d rows, trying %d at a time", len(rows), half)
        return np.concatenate([self.encode(forward, rows[:half]), self.encode(forward, rows[half:])])

    def _pass(self, forward: Callable[[Tensor], Tensor], rows: Rows) -> NDArray[np.float32]:
        with torch.inference_mode(), self._autocast():
            features = forward(torch.tensor(rows, device=self.torch))
        array: NDArray[np.float32] = features.float().cpu().numpy()
        return array

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = _DTYPES.get(self.precision)
        return torch.autocast(self.torch.type, dtype) if dtype else nullcontext()


def to_float(pixels: Tensor, scale: float, mean: Tensor | float, std: Tensor | float) -> Tensor:
    """Normalise pictures on their device.

    Args:
        pixels: `(N, H, W, 3)` uint8 RGB.
        scale: factor to the range in which mean and std are given, such as 1/255.
        mean: one number, or `(3, 1, 1)` on the same device.
        std: as the mean.

    Returns:
        `(N, 3, H, W)` float32, channels last in memory: `(pixels * scale - mean) / std`.
    """
    return (pixels.permute(0, 3, 1, 2).float() * scale - mean) / std
