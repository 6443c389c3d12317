import math

import pytest

from training.train import DECAY_FROM, WARM_UP, Budget, rate_factor


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
