import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.recipes.errors import TrainingError
from training.recipes.fit import (
    CHECKPOINT,
    DECAY_FROM,
    HISTORY,
    WARM_UP,
    Course,
    Look,
    Plan,
    Run,
    fit,
    rate_factor,
)


class LineTask:
    """Fit a line through points that depend on the step alone; with dropout, whose draws have to be repeatable."""

    def __init__(self, aucs: Sequence[float] = (0.5,)) -> None:
        torch.manual_seed(3)
        self.net: nn.Module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 1))
        self.rates = {"": 0.01, "3.": 0.05}
        self.aucs = list(aucs)  # of one look after the other; the last one stays
        self.steps_seen: list[int] = []
        self.bad_step, self.bad_value = -1, math.nan
        self.interrupt_before = -1

    def batches(self, first_step: int, steps: int) -> Iterator[Sequence[Tensor]]:
        for step in range(first_step, steps):
            if step == self.interrupt_before:
                raise KeyboardInterrupt
            self.steps_seen.append(step)
            x = torch.from_numpy(np.random.default_rng(step).standard_normal((6, 4), np.float32))
            yield x, x.sum(1, keepdim=True) * (self.bad_value if step == self.bad_step else 1)

    def loss(self, net: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        return functional.mse_loss(net(batch[0]), batch[1])

    def validate(self, net: nn.Module) -> dict[str, float]:
        assert not net.training
        return {"auc": self.aucs.pop(0) if len(self.aucs) > 1 else self.aucs[0]}


def weights(task: LineTask) -> Tensor:
    return torch.cat([value.float().ravel() for value in task.net.state_dict().values()])


def looks(*aucs: float, first: int = WARM_UP + 1) -> list[Look]:
    return [Look(first + number, 0, 0, {"auc": auc}) for number, auc in enumerate(aucs)]


@pytest.mark.parametrize(
    ("plan", "step", "seconds", "done"),
    [
        (Plan(100), 50, 1e9, 0.5),
        (Plan(100, 10), 10, 300, 0.5),
        (Plan(100, 10), 90, 60, 0.9),
        (Plan(100, 10), 200, 0, 1.0),
    ],
    ids=["steps only", "time is further", "steps are further", "past the end"],
)
def test_a_run_is_as_far_as_the_budget_that_ends_first(plan: Plan, step: int, seconds: float, done: float) -> None:
    assert plan.done(step, seconds) == pytest.approx(done)


def test_the_rate_ramps_stays_and_falls_to_nothing() -> None:
    assert rate_factor(0, 0) == pytest.approx(1 / WARM_UP)
    assert rate_factor(0.3, WARM_UP) == rate_factor(DECAY_FROM, 10 * WARM_UP) == 1
    assert rate_factor((1 + DECAY_FROM) / 2, 10 * WARM_UP) == pytest.approx(0.5)
    assert rate_factor(1, 10 * WARM_UP) == pytest.approx(0)


def test_a_run_that_was_stopped_and_goes_on_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    plan = Plan(steps=6, check_every=3)
    whole, stopped, resumed = LineTask(), LineTask(), LineTask()
    fit(whole, plan, tmp_path / "whole", "line")
    stopped.interrupt_before = 5  # after the checkpoint of step 3
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, plan, tmp_path / "parts", "line")
    fit(resumed, plan, tmp_path / "parts", "line")
    assert resumed.steps_seen == [3, 4, 5]
    assert torch.equal(weights(resumed), weights(whole))
    assert not torch.equal(weights(stopped), weights(whole))


def test_a_run_that_is_done_is_not_trained_further(tmp_path: Path) -> None:
    first, again = LineTask(), LineTask()
    fit(first, Plan(steps=4, check_every=2), tmp_path, "line")
    course = fit(again, Plan(steps=4, check_every=2), tmp_path, "line")
    assert (again.steps_seen, course.step) == ([], 4)
    assert torch.equal(weights(again), weights(first))


def test_the_network_ends_with_the_weights_of_the_best_look(tmp_path: Path) -> None:
    short, long = LineTask(), LineTask([0.4, 0.9, 0.6])
    fit(short, Plan(steps=WARM_UP + 2, check_every=WARM_UP + 2), tmp_path / "short", "line")
    # All rates are still full at the second look, so that both runs are the same until there.
    plan = Plan(steps=2 * (WARM_UP + 2), check_every=(WARM_UP + 2) // 2)
    course = fit(long, plan, tmp_path / "long", "line")
    assert course.best is course.looks[1]
    best = torch.load(tmp_path / "long" / CHECKPOINT, weights_only=True)["best"]
    assert torch.equal(weights(long), torch.cat([value.float().ravel() for value in best.values()]))
    assert not torch.equal(weights(long), weights(short))


def test_training_stops_when_the_last_looks_were_no_better(tmp_path: Path) -> None:
    task = LineTask([0.6, 0.9, 0.8, 0.9, 0.7])
    course = fit(task, Plan(steps=20 * WARM_UP, check_every=WARM_UP + 1, patience=3), tmp_path, "line")
    assert [look.figures["auc"] for look in course.looks] == [0.6, 0.9, 0.8, 0.9, 0.7]


def test_a_lucky_look_of_the_warm_up_does_not_win() -> None:
    lucky = Look(WARM_UP, 0, 0, {"auc": 1.0})
    assert Course(looks=[lucky, *looks(0.6, 0.7)]).best == looks(0.6, 0.7)[1]


def test_where_all_looks_are_of_the_warm_up_the_last_one_is_the_best() -> None:
    seen = looks(0.9, 0.5, first=1)
    assert Course(looks=seen).best is seen[1]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run_with_its_step_named_and_no_weight_spoilt(
    value: float, tmp_path: Path
) -> None:
    task = LineTask()
    task.bad_step, task.bad_value = 4, value
    with pytest.raises(TrainingError, match="line: at step 4 the loss is"):
        fit(task, Plan(steps=6, check_every=2), tmp_path, "line")
    assert torch.isfinite(weights(task)).all()
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["course"]["step"] == 4


def test_a_finite_loss_whose_gradient_overflows_changes_no_weight() -> None:
    class Steep(LineTask):
        def loss(self, net: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            made: Tensor = net(batch[0])
            return (made - made.detach()).mean() * 3e38 * 1e3

    task = Steep()
    task.net = nn.Linear(4, 1)
    task.rates = {"": 0.01}
    before = weights(task)
    with pytest.raises(TrainingError, match="the gradient is"):
        Run(task, "cpu", "line").advance([torch.ones(6, 4)], 1.0)
    assert torch.equal(weights(task), before)


def test_a_validation_auc_that_is_no_number_ends_the_run_with_its_step_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at step 2 the auc is nan"):
        fit(LineTask([math.nan]), Plan(steps=2), tmp_path, "line")


def test_a_checkpoint_of_another_recipe_is_refused_by_its_name(tmp_path: Path) -> None:
    fit(LineTask(), Plan(steps=1), tmp_path, "line")
    with pytest.raises(TrainingError, match="a checkpoint of line, not of curve"):
        fit(LineTask(), Plan(steps=1), tmp_path, "curve")


def test_a_checkpoint_without_a_name_still_goes_on(tmp_path: Path) -> None:
    plan = Plan(steps=2, check_every=1)
    fit(LineTask(), plan, tmp_path, "line")
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    del state["name"]
    torch.save(state, tmp_path / CHECKPOINT)
    assert fit(LineTask(), plan, tmp_path, "line").step == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then the disk was full"], ids=["empty", "cut off"])
def test_a_damaged_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is no checkpoint of line"):
        fit(LineTask(), Plan(steps=1), tmp_path, "line")


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    fit(LineTask(), Plan(steps=1), tmp_path, "line")
    other = LineTask()
    other.net = nn.Linear(4, 2)
    with pytest.raises(TrainingError, match="is no checkpoint of line"):
        fit(other, Plan(steps=1), tmp_path, "line")


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(LineTask(), "cpu", "line")
    run.save(tmp_path / CHECKPOINT)
    before = (tmp_path / CHECKPOINT).read_bytes()

    def half(_state: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(TrainingError, match="No space left on device"):
        run.save(tmp_path / CHECKPOINT)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_figures_of_numpy_can_be_read_back(tmp_path: Path) -> None:
    task, plan = LineTask([np.float64(0.5)]), Plan(steps=2, check_every=1)
    fit(task, plan, tmp_path, "line")
    assert fit(task, plan, tmp_path, "line").step == 2


def test_the_history_has_every_look(tmp_path: Path) -> None:
    fit(LineTask([0.5, 0.6, 0.7]), Plan(steps=5, check_every=2), tmp_path, "line")
    history = json.loads((tmp_path / HISTORY).read_text())
    assert [(look["step"], look["figures"]["auc"]) for look in history] == [(2, 0.5), (4, 0.6), (5, 0.7)]


def test_batches_that_end_early_are_said(tmp_path: Path) -> None:
    class Short(LineTask):
        def batches(self, first_step: int, steps: int) -> Iterator[Sequence[Tensor]]:
            return super().batches(first_step, steps - 2)

    with pytest.raises(TrainingError, match="ended at step 3 of 5"):
        fit(Short(), Plan(steps=5), tmp_path, "line")


def test_parameters_that_need_no_gradient_stay_as_they_are(tmp_path: Path) -> None:
    task = LineTask()
    first = task.net.get_submodule("0").requires_grad_(requires_grad=False)
    before = {name: value.clone() for name, value in first.state_dict().items()}
    fit(task, Plan(steps=3), tmp_path, "line")
    assert all(torch.equal(value, before[name]) for name, value in first.state_dict().items())
