import numpy as np
import pytest
from numpy.typing import NDArray

from training.evaluation.fit import fit_platt, fit_weights, folds, fused, sigmoid
from training.evaluation.metrics import area, calibration_error

Floats = NDArray[np.float64]


def drawn(scale: float, bias: float, count: int = 20_000) -> tuple[NDArray[np.bool_], Floats]:
    """Logits whose true calibration at even odds is that scale and bias: two normals of one spread."""
    rng = np.random.default_rng(1)
    fake = rng.random(count) < 0.5
    calibrated = rng.normal(np.where(fake, 1.0, -1.0), np.sqrt(2.0))  # log odds of these normals: the value itself
    return fake, (calibrated - bias) / scale


@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (0.3, -2.0), (4.0, 1.5)])
def test_platt_recovers_a_known_scale_and_bias(scale: float, bias: float) -> None:
    found = fit_platt(*drawn(scale, bias))
    assert found.scale == pytest.approx(scale, rel=0.05)
    assert found.bias == pytest.approx(bias, abs=0.06)


def test_platt_is_at_even_odds_whatever_the_share_of_fakes() -> None:
    fake, logits = drawn(1.0, 0.0)
    kept = ~fake | (np.arange(len(fake)) % 10 == 0)
    assert fit_platt(fake[kept], logits[kept]).bias == pytest.approx(0, abs=0.12)


def test_separable_logits_give_a_finite_scale() -> None:
    found = fit_platt(np.repeat([False, True], 10), np.repeat([-1.0, 1.0], 10))
    assert 0 < sigmoid(found.calibrated(np.array([1.0])))[0] < 0.95
    assert found.scale < 10


def test_logits_the_wrong_way_round_are_flattened_not_turned() -> None:
    fake, logits = drawn(1.0, 0.0)
    found = fit_platt(fake, -logits)
    assert found.scale > 0
    assert not found.informative
    assert np.ptp(sigmoid(found.calibrated(logits))) < 0.01


def test_equal_logits_are_no_evidence() -> None:
    found = fit_platt(np.array([True, False]), np.zeros(2))
    assert sigmoid(found.calibrated(np.zeros(1)))[0] == pytest.approx(0.5)


def detectors(count: int = 4000) -> tuple[NDArray[np.bool_], Floats]:
    """A good one, a weaker one, one that knows nothing, and one that is wrong."""
    rng = np.random.default_rng(2)
    fake = rng.random(count) < 0.5
    side = np.where(fake, 1.0, -1.0)
    return fake, np.stack([side * strength + rng.normal(size=count) for strength in (1.0, 0.4, 0.0, -0.5)], axis=1)


def test_weights_are_never_negative_and_follow_skill() -> None:
    fake, logits = detectors()
    good, weaker, blind, wrong = fit_weights(fake, logits)
    assert good == 1
    assert 0 < weaker < good
    assert 0 <= blind < 0.1
    assert wrong == 0


def test_the_fused_score_is_not_worse_than_the_best_detector() -> None:
    fake, logits = detectors()
    score = fused(logits, fit_weights(fake, logits))
    assert area(fake, score) >= area(fake, logits[:, 0])


def test_a_missing_score_is_no_evidence_and_the_others_decide() -> None:
    logits = np.array([[2.0, np.nan], [2.0, -2.0], [np.nan, np.nan]])
    assert fused(logits, np.array([1.0, 1.0]))[:2].tolist() == [2.0, 0.0]
    assert np.isnan(fused(logits, np.array([1.0, 1.0]))[2])


def test_calibrating_lowers_the_calibration_error_of_overconfident_logits() -> None:
    fake, logits = drawn(0.25, 1.0)
    before = calibration_error(fake, sigmoid(logits))
    assert calibration_error(fake, sigmoid(fit_platt(fake, logits).calibrated(logits))) < before / 3


def test_a_group_is_in_one_fold_only() -> None:
    groups = np.array([f"g{i // 3}" for i in range(60)])
    fold = folds(groups, 5, np.random.default_rng(0))
    assert all(len(set(fold[groups == name])) == 1 for name in set(groups))
    assert set(fold) == set(range(5))
