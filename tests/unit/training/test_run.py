import math
from pathlib import Path

import numpy as np
import pytest
import torch

from models.detectors.mobilenet_sbi import read_net
from tests.unit.training.portrait import astronaut
from training.pairs import forged_pair
from training.train import DECAY_FROM, WARM_UP, Budget, rate_factor, train

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.mark.parametrize(
    ("budget", "step", "seconds", "done"),
    [
        (Budget(100, math.inf), 50, 1e9, 0.5),
        (Budget(100, 10), 10, 300, 0.5),
        (Budget(100, 10), 90, 60, 0.9),
        (Budget(100, 10), 200, 0, 1.0),
    ],
    ids=["steps only", "time is further", "steps are further", "past the end"],
)
def test_a_run_is_as_far_as_the_budget_that_ends_first(budget: Budget, step: int, seconds: float, done: float) -> None:
    assert budget.done(step, seconds) == pytest.approx(done)


def test_the_rate_ramps_stays_and_falls_to_nothing() -> None:
    assert rate_factor(0, 0) == pytest.approx(1 / WARM_UP)
    assert rate_factor(0.3, WARM_UP) == rate_factor(DECAY_FROM, 10 * WARM_UP) == 1
    assert rate_factor((1 + DECAY_FROM) / 2, 10 * WARM_UP) == pytest.approx(0.5)
    assert rate_factor(1, 10 * WARM_UP) == pytest.approx(0)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the development data is not at {DATA}")
def test_a_run_started_again_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.train.BATCH_PAIRS", 1)
    monkeypatch.setattr("training.train.CHECK_EVERY", 1)
    monkeypatch.setattr("training.train.val_crops", lambda *_: forged_pair(astronaut(), np.random.default_rng(1))[None])
    monkeypatch.setattr("training.pairs.load_portraits", lambda *_: [astronaut()])
    train(DATA, tmp_path, Budget(2, math.inf), seed=1, workers=0)
    weights = train(DATA, tmp_path, Budget(3, math.inf), seed=1, workers=0)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3
    assert read_net(weights).head.weight.abs().sum() > 0
