from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from training.evaluation.metrics import (
    Bools,
    Floats,
    accuracy,
    area,
    auc,
    brier,
    calibration_error,
    eer,
    equal_error,
    figures,
    reliability,
    resampled,
)


@pytest.mark.parametrize(
    ("real", "fake", "area", "error"),
    [([0, 1], [2, 3], 1.0, 0.0), ([2, 3], [0, 1], 0.0, 1.0), ([0, 2], [1, 3], 0.75, 0.5)],
    ids=["apart", "the wrong way round", "one pair crossed"],
)
def test_area_and_error_of_known_orders(real: list[float], fake: list[float], area: float, error: float) -> None:
    assert auc(np.array(real, float), np.array(fake, float)) == area
    assert eer(np.array(real, float), np.array(fake, float)) == error


def labelled(count: int = 200) -> tuple[Bools, Floats]:
    rng = np.random.default_rng(1)
    fake = rng.random(count) < 0.4
    p_fake = np.clip(rng.normal(0.4 + 0.2 * fake, 0.2), 0, 1)
    return fake, np.asarray(np.round(p_fake, 2), np.float64)  # rounded: with ties


def test_area_of_scores_with_ties_is_scikit_learns() -> None:
    fake, p_fake = labelled()
    assert area(fake, p_fake) == pytest.approx(roc_auc_score(fake, p_fake))


def test_brier_is_scikit_learns() -> None:
    fake, p_fake = labelled()
    assert brier(fake, p_fake) == pytest.approx(brier_score_loss(fake, p_fake))


def test_calibration_error_of_hand_counted_bins() -> None:
    p_fake = np.array([0.1, 0.1, 0.9, 0.9])  # two bins, each off by 0.4
    assert calibration_error(np.array([False, True, False, True]), p_fake) == pytest.approx(0.4)


def test_calibration_error_of_a_calibrated_score_is_small() -> None:
    rng = np.random.default_rng(2)
    p_fake = rng.random(50_000)
    assert calibration_error(rng.random(50_000) < p_fake, p_fake) < 0.01


def test_bins_hold_every_item_once_ends_included() -> None:
    p_fake = np.array([0.0, 1 / 15, 0.5, 1.0])
    assert sum(b.count for b in reliability(np.ones(4, bool), p_fake)) == 4


def test_accuracy_counts_the_right_side_of_a_threshold() -> None:
    assert accuracy(np.array([True, True, False]), np.array([0.9, 0.5, 0.1])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("statistic", [area, equal_error])
def test_a_figure_of_one_class_is_no_number(statistic: Callable[[Bools, Floats], float]) -> None:
    assert np.isnan(statistic(np.ones(3, bool), np.arange(3.0)))


def test_resamples_take_groups_whole() -> None:
    groups = ["a"] * 3 + ["b"] * 2 + ["c"]
    for chosen in resampled(groups, np.random.default_rng(0), 50):
        counts = np.bincount(chosen, minlength=6)
        assert len(set(counts[:3])) == 1
        assert counts[3] == counts[4]


def test_the_interval_of_copies_in_groups_is_that_of_the_groups() -> None:
    values = np.random.default_rng(3).normal(size=40)
    copies = np.repeat(values, 25)
    names = [str(i) for i in range(40)]

    def interval(column: Floats, groups: list[str]) -> float:
        found = figures(lambda at: [float(column[at].mean())], groups, np.random.default_rng(4))[0]
        return found.high - found.low

    alone = interval(values, names)
    assert interval(copies, [name for name in names for _ in range(25)]) == pytest.approx(alone)
    assert interval(copies, [str(i) for i in range(1000)]) < alone / 3


def test_equal_seeds_give_equal_intervals() -> None:
    fake, p_fake = labelled()
    groups = [str(i // 2) for i in range(len(fake))]
    first, again = (figures(lambda at: [area(fake[at], p_fake[at])], groups, np.random.default_rng(5)) for _ in "ab")
    assert first == again


def test_resamples_of_one_class_are_left_out_of_the_interval() -> None:
    fake, p_fake = np.array([True, False]), np.array([0.9, 0.1])
    found = figures(lambda at: [area(fake[at], p_fake[at])], ["a", "b"], np.random.default_rng(6))[0]
    assert (found.low, found.value, found.high) == (1, 1, 1)
