"""What every detector offers, and what it is built from. Architectures satisfy it by shape, not by inheritance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.errors import CatalogueError
from models.types import Class, ClipScore, Precision, SaliencyMethod, View

Rows = NDArray[np.uint8] | NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an architecture builds a detector from: one row of the catalogue, with its files checked.

    Attributes:
        id: the row's.
        files: paths by the name the row gives them; `weights` is always there. Safetensors, ONNX or JSON.
        view: what the detector will be given.
        labels: what each output of the network stands for, in order. One label: the output is one logit, whose
            sigmoid is the probability of that label. Empty: the files themselves say it (`id2label`).
        options: the row's, for the architecture alone, which says with `accept_options` what it knows.
        device: `cpu`, `cuda` or `cuda:1`.
        precision: of the forward pass; weights and scores stay in single precision.
    """

    id: str
    files: Mapping[str, Path]
    view: View
    labels: tuple[Class, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    precision: Precision = "fp32"

    @property
    def weights(self) -> Path:
        """The file of weights."""
        return self.files["weights"]

    def accept_options(self, *names: str) -> None:
        """Raises `CatalogueError` if the row has an option of another name: a misspelt one would be ignored."""
        if unknown := sorted(set(self.options) - set(names)):
            known = f"It has: {', '.join(names)}." if names else "It has none."
            raise CatalogueError(f"{self.id} has no option {', '.join(unknown)}.", known)


class Detector(Protocol):
    """One detector with its weights loaded, on its device.

    `encode` sees rows of any number of clips at once, so that a replica can batch over requests; `decide` sees
    the features of one clip. Neither keeps state, and a row's features do not depend on its neighbours.
    """

    view: View

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """Features of rows: `(N, H, W, 3)` uint8 RGB or `(N, samples)` float32 in, `(N, D)` float32 out."""

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one clip from its `(T, D)` features and `(T,)` times."""


@dataclass(frozen=True, slots=True)
class Saliency:
    """`maps` is `(T, h, w)` float32 in [0, 1], one per row and as coarse as its method is."""

    method: SaliencyMethod
    maps: NDArray[np.float32]

    @classmethod
    def scaled(cls, method: SaliencyMethod, maps: NDArray[np.float32]) -> Self:
        """From `(T, h, w)` of at least 0: each is divided by its largest value; what is 0 everywhere stays so."""
        largest = maps.max(axis=(1, 2), keepdims=True)
        return cls(method, np.divide(maps, largest, out=np.zeros(maps.shape, np.float32), where=largest > 0))


@runtime_checkable
class SelfExplaining(Protocol):
    """A detector whose architecture has a saliency method of its own. Others have `models.explain.occlusion`."""

    def saliency(self, rows: Rows) -> Saliency | None:
        """Maps of `(T, H, W, 3)` uint8 RGB rows; None where this network turns out to have none."""
