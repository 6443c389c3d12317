"""Every way to copy a voice by its name: signal processing, and the neural vocoders that were trained."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.forgeries.voice import FAMILIES as CLASSICAL
from training.forgeries.voice import HELD_OUT as UNSEEN_CLASSICAL
from training.forgeries.voice import copy_synthesis, levelled
from training.vocoders.net import ARCHITECTURES, FRAME, Architecture
from training.vocoders.net import HELD_OUT as UNSEEN_NEURAL
from training.vocoders.train import AGES, Age, at_working_level, load_vocoder

Samples = NDArray[np.float32]
Vocode = Callable[[Samples, np.random.Generator], Samples]
"""A copy `(S,)` float32 of a recording `(S,)` at 16 kHz, aligned with it to within a frame, and as loud."""

FAMILIES = (*CLASSICAL, *ARCHITECTURES)
UNSEEN = (UNSEEN_CLASSICAL, UNSEEN_NEURAL)
SEEN = tuple(name for name in FAMILIES if name not in UNSEEN)
SEED = 1  # of the vocoders' weights
AGE_ODDS: dict[Age, float] = {"early": 0.3, "late": 0.7}
# Sounds are cut into whole frames, and as long as the widest view of a vocoder beyond its ends is silence.
MARGIN = 16 * FRAME  # samples


@dataclass(frozen=True, slots=True)
class Neural:
    """The copies of one architecture, by its vocoders of both ages; satisfies `Vocode`."""

    folder: Path
    architecture: Architecture

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """A copy by one of the two, drawn."""
        age = AGES[int(rng.choice(len(AGES), p=[AGE_ODDS[age] for age in AGES]))]
        return neural_copy(samples, _loaded(self.folder, self.architecture, age))


def voice_families(vocoders: Path) -> dict[str, Vocode]:
    """All families; those of `UNSEEN` are for validation only.

    Args:
        vocoders: folder of the trained vocoders; a vocoder is read when it first copies.
    """
    classical: dict[str, Vocode] = {name: partial(_classical, family=name) for name in CLASSICAL}
    return {**classical, **{name: Neural(vocoders, name) for name in ARCHITECTURES}}


@torch.inference_mode()
def neural_copy(samples: Samples, net: torch.nn.Module) -> Samples:
    """A recording `(S,)` through a vocoder; as long and as loud."""
    whole = -len(samples) % FRAME
    sound, _ = at_working_level(samples)
    padded = torch.from_numpy(np.pad(sound, (MARGIN, MARGIN + whole)))[None]
    made: Samples = net(padded)[0].numpy()[MARGIN : MARGIN + len(samples)]
    return levelled(made, samples)


def _classical(samples: Samples, rng: np.random.Generator, family: str) -> Samples:
    return copy_synthesis(samples, family, rng)


@cache
def _loaded(folder: Path, architecture: Architecture, age: Age) -> torch.nn.Module:
    return load_vocoder(folder, architecture, SEED, age)
