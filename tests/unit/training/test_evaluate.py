import numpy as np

from training.evaluate import Calibration, Scores, fit_calibration, interval
from training.evaluation.metrics import auc


def normal(mean: float, seed: int, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(mean, 1, shape).astype(np.float32)


def test_the_interval_holds_the_figure_and_narrows_with_more_persons() -> None:
    few, many = ((normal(0, 1, (n,)).astype(float), normal(1, 2, (n,)).astype(float)) for n in (40, 1000))
    widths = []
    for real, fake in (few, many):
        low, high = interval(real, fake, auc)
        assert low < auc(real, fake) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_calibration_leans_to_real_where_the_two_cannot_be_told_apart() -> None:
    levels = {"blind": Scores(normal(0, 1, (500, 8)), normal(0, 2, (500, 8)))}
    assert fit_calibration(levels).p_fake(np.zeros(1))[0] < 0.5


def test_calibration_is_certain_where_the_two_are_far_apart() -> None:
    fitted = fit_calibration({"easy": Scores(normal(-3, 1, (200, 8)), normal(3, 2, (200, 8)))})
    assert fitted.p_fake(np.array([-3.0]))[0] < 0.05
    assert fitted.p_fake(np.array([3.0]))[0] > 0.95


def test_p_fake_follows_the_logit() -> None:
    assert np.all(np.diff(Calibration(0.7, -0.2).p_fake(np.linspace(-5, 5, 20))) > 0)
