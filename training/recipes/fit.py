"""The training loop of every recipe: warm-up, plateau, decay, moving average, early stopping, checkpoints and plots.

A recipe supplies a `Task`; `fit` advances it. Everything is a function of the seed and the step, so a run that was
stopped goes on as if it had not been, except where the budget is one of minutes: then the learning rate follows the
clock, and another machine gets other weights. What is on disk is always a run that can go on: a checkpoint is replaced
whole, and a step that brought no finite loss or gradient changes no weight and ends the run.
"""

import copy
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from torch import Tensor, nn

from training.recipes.errors import TrainingError
from training.recipes.plots import draw_curves

WARM_UP = 100  # steps
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0  # what keeps training with folded batch norm stable
EMA_DECAY = 0.998
DECAY_FROM = 2 / 3  # of the run; then the rate falls to 0 along a cosine
CHECKPOINT, HISTORY, CURVES = "checkpoint.pt", "history.json", "curves.png"
_ELSEWHERE = "Use another folder, or remove that file to start anew."


class Task(Protocol):
    """What a recipe teaches.

    Attributes:
        net: the network; `fit` moves it to the device.
        rates: learning rate by the first part of the parameters' names; `""` is the rate of all others. Parameters that
            need no gradient are left as they are.
    """

    net: nn.Module
    rates: dict[str, float]

    def batches(self, first_step: int, steps: int) -> Iterable[Sequence[Tensor]]:
        """Batches of the steps from `first_step` on; they depend on the seed and the step alone."""
        ...

    def loss(self, net: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        """Loss of one batch, which is on the network's device."""
        ...

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Figures on validation data; `auc` decides which weights are kept, and the others are for the plot."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to train: whichever ends first. The learning rate follows whichever is further along.

    Attributes:
        steps: at most.
        minutes: of training, all runs together.
        check_every: steps between two looks at the validation data.
        patience: looks without a better AUC after which training stops.
        device: `cpu`, `cuda` or `cuda:N`; on a GPU the forward pass is in bfloat16.
    """

    steps: int
    minutes: float = math.inf
    check_every: int = 300
    patience: int = 12
    device: str = "cpu"

    def done(self, step: int, seconds: float) -> float:
        """Share of the run that is behind, 0 to 1."""
        return min(1.0, max(step / self.steps, seconds / 60 / self.minutes))


@dataclass(slots=True)
class Look:
    """One look at the validation data."""

    step: int
    seconds: float
    loss: float
    figures: dict[str, float]


@dataclass(slots=True)
class Course:
    """How far a run is, and what was seen on the way. `losses` are those since the last look."""

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    @property
    def best(self) -> Look | None:
        """The look with the highest AUC, the first of equals; none of the warm-up wins, unless there is no other.

        In the first steps the average is still mostly what the network began with, and on few validation items luck
        may give that a high AUC.
        """
        counted = [look for look in self.looks if look.step > WARM_UP] or self.looks[-1:]
        return max(counted, key=lambda look: look.figures["auc"], default=None)

    def stale(self, patience: int) -> bool:
        """Whether the last `patience` looks were no better than one before."""
        return self.best is not None and len(self.looks) - self.looks.index(self.best) > patience


class Run:
    """The state of one training run: network, its moving average, optimiser, the best average so far.

    Args:
        task: what to teach.
        device: see `Plan`.
        name: of the run; a checkpoint of another one is not taken.
    """

    def __init__(self, task: Task, device: str, name: str) -> None:
        self.task = task
        self.name = name
        self.net = task.net.to(device)
        self.ema = copy.deepcopy(self.net).eval().requires_grad_(requires_grad=False)
        self.best = copy.deepcopy(self.ema.state_dict())
        self.optimiser = torch.optim.AdamW(_groups(self.net, task.rates), weight_decay=WEIGHT_DECAY)
        self.course = Course()
        self.device = torch.device(device)

    def advance(self, batch: Sequence[Tensor], factor: float) -> float:
        """One step; returns the loss.

        Raises:
            TrainingError: the loss or its gradient is not finite; the weights are still those before the step.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_rate"] * factor
        self.net.train()
        torch.manual_seed(self.course.step)  # dropout, too, depends on the step alone
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = self.task.loss(self.net, [part.to(self.device, non_blocking=True) for part in batch])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP_NORM)
        self._refuse_unless_finite(loss=float(loss.detach()), gradient=float(norm))
        self.optimiser.step()
        self.course.step += 1
        self._average()
        return float(loss.detach())

    def look(self) -> Look:
        """Measure the moving average on the validation data, and keep it if it is the best."""
        losses = self.course.losses
        mean = sum(losses) / len(losses) if losses else math.nan
        with torch.inference_mode():
            # Plain floats: numpy's are not among what a checkpoint may hold when it is read back.
            figures = {name: float(value) for name, value in self.task.validate(self.ema).items()}
        self._refuse_unless_finite(auc=figures["auc"])
        seen = Look(self.course.step, self.course.seconds, mean, figures)
        self.course.losses = []
        self.course.looks.append(seen)
        if self.course.best is seen:
            self.best = copy.deepcopy(self.ema.state_dict())
        return seen

    def _refuse_unless_finite(self, **values: float) -> None:
        for what, value in values.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{self.name}: at step {self.course.step} the {what} is {value}.",
                    "The last checkpoint is from before; look at the data of that step, or train with a lower rate.",
                )

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.course.step) / (10 + self.course.step))  # at first the random head must go
        for mean, now in zip(self.ema.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)
        for kept, current in zip(self.ema.buffers(), self.net.buffers(), strict=True):
            kept.copy_(current)

    def save(self, path: Path) -> None:
        """Write the checkpoint whole or not at all.

        Raises:
            TrainingError: it cannot be written, as when the disk is full; the one before is still there.
        """
        state = {
            "name": self.name,
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "course": asdict(self.course),
        }
        part = path.with_suffix(".part")
        try:
            torch.save(state, part)
            part.replace(path)
        except (OSError, RuntimeError) as error:  # torch's own writer raises the latter on a full disk
            part.unlink(missing_ok=True)
            raise TrainingError(
                f"{path} cannot be written: {error}.", "The checkpoint before it, if any, is untouched."
            ) from error

    def restore(self, path: Path) -> None:
        """Go on where a checkpoint was written.

        Raises:
            TrainingError: it is damaged, or of another run.
        """
        try:
            self._take(torch.load(path, map_location=self.device, weights_only=True))
        except TrainingError as error:
            raise TrainingError(f"{path}: {error.detail}", _ELSEWHERE) from None
        except Exception as error:  # a broken archive, missing keys, other shapes: each is another class
            raise TrainingError(f"{path} is no checkpoint of {self.name}: {error}.", _ELSEWHERE) from error

    def _take(self, state: dict[str, Any]) -> None:
        written_by = state.get("name", self.name)  # the first checkpoints had no name
        if written_by != self.name:
            raise TrainingError(f"it is a checkpoint of {written_by}, not of {self.name}.")
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.best = state["best"]
        self.optimiser.load_state_dict(state["optimiser"])
        course = state["course"]
        self.course = Course(course["step"], course["seconds"], course["losses"], [Look(**v) for v in course["looks"]])


def rate_factor(done: float, step: int) -> float:
    """Factor on the learning rates: a short ramp, a plateau, and a cosine to 0 over the last third."""
    ramp = min(1.0, (step + 1) / WARM_UP)
    fall = max(0.0, (done - DECAY_FROM) / (1 - DECAY_FROM))
    return ramp * 0.5 * (1 + math.cos(math.pi * fall))


def fit(task: Task, plan: Plan, out: Path, name: str) -> Course:
    """Train, or go on training; the network of `task` ends with the best weights, in `eval` mode, on the CPU.

    Args:
        task: what to teach.
        plan: how long.
        out: for the checkpoint, `history.json` and `curves.png`; a run that is there goes on.
        name: of the run: in its checkpoint, the progress bar and the plot.

    Raises:
        TrainingError: the checkpoint in `out` is of another run or cannot be written, or the loss is not finite.
    """
    out.mkdir(parents=True, exist_ok=True)
    run = Run(task, plan.device, name)
    if (out / CHECKPOINT).exists():
        run.restore(out / CHECKPOINT)
    with _progress() as progress:
        _advance(run, plan, out, progress, progress.add_task(name, total=1.0, loss=math.nan, auc=math.nan))
    task.net.load_state_dict(run.best)
    task.net.to("cpu").eval()
    draw_curves(out / CURVES, name, [(v.step, v.loss, v.figures) for v in run.course.looks])
    return run.course


def _advance(run: Run, plan: Plan, out: Path, progress: Progress, bar: TaskID) -> None:
    course = run.course
    began = time.monotonic() - course.seconds
    if plan.done(course.step, course.seconds) >= 1 or course.stale(plan.patience):
        return
    for batch in run.task.batches(course.step, plan.steps):
        done = plan.done(course.step, time.monotonic() - began)
        course.losses.append(run.advance(batch, rate_factor(done, course.step)))
        course.seconds = time.monotonic() - began
        done = plan.done(course.step, course.seconds)
        progress.update(bar, completed=done, loss=course.losses[-1])
        if course.step % plan.check_every == 0 or done >= 1:
            seen = run.look()
            progress.update(bar, auc=seen.figures["auc"])
            progress.console.print(_line(seen), markup=False, highlight=False, soft_wrap=True)
            run.save(out / CHECKPOINT)
            write_history(out / HISTORY, course)
        if done >= 1 or course.stale(plan.patience):
            return
    raise TrainingError(f"{run.name}: its batches ended at step {course.step} of {plan.steps}.")


def write_history(path: Path, course: Course) -> None:
    """Every look, as JSON."""
    path.write_text(json.dumps([asdict(look) for look in course.looks], indent=1) + "\n", "utf-8")


def _groups(net: nn.Module, rates: dict[str, float]) -> list[dict[str, Any]]:
    by_start: dict[str, list[nn.Parameter]] = {start: [] for start in rates}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        start = max((s for s in rates if name.startswith(s)), key=len)
        by_start[start].append(parameter)
    return [{"params": part, "full_rate": rates[start], "lr": rates[start]} for start, part in by_start.items() if part]


def _line(look: Look) -> str:
    figures = "  ".join(f"{name} {value:.4f}" for name, value in look.figures.items())
    return f"step {look.step}  {look.seconds:.0f} s  loss {look.loss:.4f}  {figures}"


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  loss {task.fields[loss]:.4f}  AUC {task.fields[auc]:.4f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as progress:
        yield progress
