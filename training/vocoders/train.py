"""Train one vocoder: half of the time on spectra alone, the other half also against judges.

The weights of both halves are kept: `early` sounds duller and hoarser than `late`, and both are fakes worth knowing.
They forge, so they are neither committed nor bundled; they lie in a cache outside the repository.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.vocoders.judges import Judges, fooling_loss, judging_loss
from training.vocoders.net import FRAME, Architecture, new_net
from training.vocoders.spectra import stft_loss
from training.vocoders.speech import Samples, read_samples, recordings

Age = Literal["early", "late"]
AGES: tuple[Age, ...] = get_args(Age)

BATCH = 8
SEGMENT = 64 * FRAME  # samples: half a second
RATE = 1e-3  # Adam; falls to a tenth over the run
JUDGED_FROM = 0.5  # of the run
OPINION_WEIGHT, FEATURE_WEIGHT = 0.3, 0.6  # beside the loss of spectra, which is about 1
CLIP_NORM = 1.0
CHECK_EVERY = 100  # steps
LEVEL = 0.08  # root mean square at which every vocoder works
QUIET = 1e-6


@dataclass(slots=True)
class Run:
    """One vocoder in training, its judges, and how far it is."""

    net: nn.Module
    judges: Judges = field(default_factory=Judges)
    step: int = 0
    seconds: float = 0.0
    optimisers: list[torch.optim.Adam] = field(init=False)

    def __post_init__(self) -> None:
        self.optimisers = [torch.optim.Adam(of.parameters(), RATE, (0.8, 0.99)) for of in (self.net, self.judges)]

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {
            "net": self.net.state_dict(),
            "judges": self.judges.state_dict(),
            "ours": self.optimisers[0].state_dict(),
            "theirs": self.optimisers[1].state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        self.net.load_state_dict(state["net"])
        self.judges.load_state_dict(state["judges"])
        self.optimisers[0].load_state_dict(state["ours"])
        self.optimisers[1].load_state_dict(state["theirs"])
        self.step, self.seconds = state["step"], state["seconds"]


def new_run(architecture: Architecture, seed: int) -> Run:
    """A run at its first step; equal seeds give equal weights."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        judges = Judges()
    return Run(new_net(architecture, seed), judges)


def advance(run: Run, sound: Tensor, done: float) -> float:
    """One step on `(N, S)` sound; `done` is the share of the run behind. Returns the loss of spectra."""
    for optimiser in run.optimisers:
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.1**done
    made = run.net(sound)
    spectral = stft_loss(made, sound)
    judged = done >= JUDGED_FROM
    _step(run.net, run.optimisers[0], spectral + (_fooling(run.judges, made, sound) if judged else 0))
    if judged:
        _step(run.judges, run.optimisers[1], judging_loss(run.judges(sound), run.judges(made.detach())))
    run.step += 1
    return float(spectral.detach())


def _fooling(judges: Judges, made: Tensor, sound: Tensor) -> Tensor:
    opinions, features = fooling_loss(judges(sound), judges(made))
    return OPINION_WEIGHT * opinions + FEATURE_WEIGHT * features


def _step(net: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP_NORM)
    optimiser.step()


def draw_batch(sounds: list[Samples], seed: int, step: int) -> Tensor:
    """`(8, 8192)` float32 segments; the same for equal seed and step. Long recordings are drawn as often as long."""
    rng = np.random.default_rng([seed, step])
    lengths = np.array([len(sound) for sound in sounds], float)
    picks = rng.choice(len(sounds), BATCH, p=lengths / lengths.sum())
    return torch.from_numpy(np.stack([_segment(sounds[pick], rng) for pick in picks]))


def _segment(sound: Samples, rng: np.random.Generator) -> Samples:
    start = int(rng.integers(max(len(sound) - SEGMENT, 0) + 1))
    segment = sound[start : start + SEGMENT]
    return np.pad(segment, (0, SEGMENT - len(segment)))


def at_working_level(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The samples at the root mean square that vocoders work at, and the factor that brought them there."""
    factor = LEVEL / max(float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))), QUIET)
    return (samples * factor).astype(np.float32), factor


def train(data: Path, out: Path, architecture: Architecture, seed: int, *, minutes: float, steps: int) -> float:
    """Train, or go on training, and write the weights.

    Args:
        data: folder of the development data; the vocoder learns the training split of what may be released.
        out: for the checkpoint and the weights.
        architecture: how frames become samples.
        seed: of the weights and of every batch.
        minutes: of training, all runs together.
        steps: at most; whichever ends first.

    Returns:
        The loss of spectra, mean of the last hundred steps of this call.
    """
    out.mkdir(parents=True, exist_ok=True)
    sounds = [at_working_level(read_samples(r.path))[0] for r in recordings(data, "train")]
    run, checkpoint = new_run(architecture, seed), out / f"{architecture}-{seed}.pt"
    if checkpoint.exists():
        run.restore(torch.load(checkpoint, weights_only=True))
    losses = _advance_all(run, sounds, checkpoint, seed=seed, minutes=minutes, steps=steps)
    write_weights(run.net, weights_path(out, architecture, seed, "late"))
    return float(np.mean(losses[-100:])) if losses else float("nan")


def _advance_all(
    run: Run, sounds: list[Samples], checkpoint: Path, *, seed: int, minutes: float, steps: int
) -> list[float]:
    losses: list[float] = []
    began = time.monotonic() - run.seconds
    early = checkpoint.with_name(f"{checkpoint.stem}-early.safetensors")
    with _progress() as progress:
        task = progress.add_task(checkpoint.stem, total=1.0, loss=float("nan"))
        while (done := max(run.seconds / 60 / minutes, run.step / steps)) < 1:
            if done >= JUDGED_FROM and not early.exists():
                write_weights(run.net, early)
            losses.append(advance(run, draw_batch(sounds, seed, run.step), done))
            run.seconds = time.monotonic() - began
            progress.update(task, completed=done, loss=float(np.mean(losses[-20:])))
            if run.step % CHECK_EVERY == 0:
                torch.save(run.state(), checkpoint)
    torch.save(run.state(), checkpoint)
    return losses


def weights_path(folder: Path, architecture: Architecture, seed: int, age: Age) -> Path:
    """Where the weights of one vocoder lie."""
    return folder / f"{architecture}-{seed}-{age}.safetensors"


def write_weights(net: nn.Module, path: Path) -> None:
    """Safetensors, readable by everyone."""
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, path)
    path.chmod(0o644)


def load_vocoder(folder: Path, architecture: Architecture, seed: int, age: Age) -> nn.Module:
    """A trained vocoder, in `eval` mode."""
    net = new_net(architecture, seed)
    net.load_state_dict(load_file(weights_path(folder, architecture, seed, age)))
    return net.eval().requires_grad_(requires_grad=False)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
    )
