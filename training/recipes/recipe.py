"""What every recipe is told and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from training.recipes.fit import Course, Plan

FACES = ("faces_real.csv", "faces_real")
SPEECH = ("speech.csv", "speech_real_read.csv", "speech_real", "speech_real_read")


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asked for.

    Attributes:
        data: folder of the development data, or of the synthetic one of a smoke run.
        out: what the run writes lies here, and a run that is there goes on.
        shared: what runs of several recipes use: face boxes, the networks that forge, the validation set.
        plan: of the main training; a recipe shortens it for its lesser parts.
        seed: of every random choice.
        workers: processes that forge; 0 forges in this one.
        smoke: the shortest run that still goes through every part.
    """

    data: Path
    out: Path
    shared: Path
    plan: Plan
    seed: int = 1
    workers: int = 1
    smoke: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """What a recipe made.

    Attributes:
        weights: safetensors in half precision, as the detector loads them.
        course: of the main training.
    """

    weights: Path
    course: Course


@dataclass(frozen=True, slots=True)
class Recipe:
    """One bundled detector.

    Attributes:
        id: of the catalogue's row, whose view, labels and options the training follows.
        plan: of a full run.
        train: does it.
        needs: files and folders of the development data that it reads, relative to it.
    """

    id: str
    plan: Plan
    train: Callable[[Order], Trained]
    needs: tuple[str, ...] = FACES


def write_half(net: nn.Module, path: Path) -> Path:
    """Write safetensors in half precision: half the bytes, the same figures to three digits. Returns the path."""
    save_file({key: value.half().contiguous() for key, value in net.state_dict().items()}, path)
    path.chmod(0o644)  # safetensors writes files that only their owner may read
    return path
