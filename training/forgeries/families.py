"""Which forgery of a picture is drawn how often in training, and which ones are for validation only."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from training.forgeries.face_swap import similar_face, swap_faces
from training.forgeries.reconstruct import load_nets, reconstruct
from training.forgeries.reconstruct_net import ARCHITECTURES, HELD_OUT, Architecture, FaceAutoencoder
from training.forgeries.self_blend import Pair, self_blend
from training.portraits import Portrait

SEEN: tuple[Architecture, ...] = tuple(a for a in ARCHITECTURES if a != HELD_OUT)
UNSEEN_NAME = f"reconstruct_{HELD_OUT}"  # the family that no detector is trained on
TRAINING_ODDS: Mapping[str, float] = {"self_blend": 0.45, "face_swap": 0.2, "reconstruct": 0.35}
FAMILIES = (*TRAINING_ODDS, UNSEEN_NAME)


class Forger:
    """Forges pictures by the name of the family.

    Args:
        portraits: faces of one split; a swap takes its source from them.
        nets: folder of the face autoencoders, read when the first one is needed.
    """

    def __init__(self, portraits: Sequence[Portrait], nets: Path) -> None:
        self.portraits = portraits
        self._folder = nets
        self._by_family: dict[str, Callable[[Portrait, np.random.Generator], Pair]] = {
            "self_blend": self_blend,
            "face_swap": lambda face, rng: swap_faces(face, similar_face(face, self.portraits, rng), rng),
            "reconstruct": lambda face, rng: reconstruct(face, _one(self._seen, rng), rng),
            UNSEEN_NAME: lambda face, rng: reconstruct(face, _one(self._unseen, rng), rng),
        }

    def forge(self, family: str, portrait: Portrait, rng: np.random.Generator) -> Pair:
        """One real picture and its forgery; equal generators give equal pairs."""
        return self._by_family[family](portrait, rng)

    @cached_property
    def _seen(self) -> list[FaceAutoencoder]:
        return load_nets(self._folder, SEEN)

    @cached_property
    def _unseen(self) -> list[FaceAutoencoder]:
        return load_nets(self._folder, (HELD_OUT,))


def draw_family(rng: np.random.Generator, odds: Mapping[str, float] = TRAINING_ODDS) -> str:
    """One of the families, as often as the odds say, which add up to 1."""
    return str(rng.choice(list(odds), p=list(odds.values())))


def _one(nets: Sequence[FaceAutoencoder], rng: np.random.Generator) -> FaceAutoencoder:
    return nets[int(rng.integers(len(nets)))]
