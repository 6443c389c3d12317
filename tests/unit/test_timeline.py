"""How scores run over time, as docs/api.md defines it."""

import numpy as np
import pytest

from models.detectors.catalogue import VerdictRow
from models.timeline import anomalous, slope_per_s, temporal
from models.types import Pattern, Temporal, TimelinePoint, Trend

BOUNDS = VerdictRow(real_below=0.4, fake_above=0.6)


def run(*scores: float) -> Temporal:
    """One face, a point per second."""
    found = temporal([TimelinePoint(float(t), 0, p) for t, p in enumerate(scores)], ("face", 0), BOUNDS)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.9, 0.9, 0.9), []),
        ((0.5, 0.9, 0.5), []),  # it begins in the band: nothing to come from
        ((0.1, 0.9, 0.1), [(1.0, "FAKE"), (2.0, "REAL")]),
        ((0.1, 0.5, 0.9), [(2.0, "FAKE")]),
        ((0.9, 0.5, 0.9, 0.45, 0.9), []),  # it never got past the other bound
    ],
)
def test_a_transition_is_where_it_gets_past_the_other_bound(
    scores: tuple[float, ...], expected: list[tuple[float, str]]
) -> None:
    assert [(change.t_s, change.to) for change in run(*scores).transitions] == expected


@pytest.mark.parametrize(
    ("scores", "trend", "slope"),
    [
        ((0.1, 0.2, 0.3), "rising", 0.1),
        ((0.3, 0.2, 0.1), "falling", -0.1),
        ((0.5, 0.52, 0.54), "stable", 0.02),
        ((0.1, 0.2, 0.9, 0.4, 0.5), "rising", 0.1),  # a single outlier does not tilt it
    ],
)
def test_the_trend_is_the_median_slope(scores: tuple[float, ...], trend: Trend, slope: float) -> None:
    found = run(*scores)
    assert found.trend == trend
    assert found.slope_per_s == pytest.approx(slope)


def test_points_at_one_time_have_no_slope() -> None:
    assert slope_per_s(np.zeros(3), np.array([0.1, 0.5, 0.9])) == 0.0


def test_consistency_is_one_less_twice_the_variance() -> None:
    assert run(0.5, 0.5).consistency == 1.0
    assert run(0.4, 0.6).consistency == pytest.approx(1 - 2 * 0.01)
    assert run(0.0, 1.0).consistency == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("scores", "pattern"),
    [
        ((0.9, 0.9, 0.9, 0.9, 0.5), "sustained_fake"),
        ((0.1, 0.1, 0.1, 0.1, 0.5), "sustained_real"),
        ((0.1, 0.9, 0.9, 0.9, 0.9, 0.9), "alternating"),
        ((0.9, 0.9, 0.5), "uncertain"),
    ],
)
def test_the_pattern_is_a_share_of_points_past_a_bound(scores: tuple[float, ...], pattern: Pattern) -> None:
    assert run(*scores).pattern == pattern


def test_an_anomaly_is_far_from_the_median_and_no_ripple_of_a_flat_curve() -> None:
    assert run(0.5, 0.5, 0.5, 0.9, 0.5).anomalies_s == (3.0,)
    assert not anomalous(np.array([0.5, 0.5, 0.5, 0.55, 0.5])).any()


def test_a_subject_without_a_curve_does_not_run() -> None:
    points = [TimelinePoint(0.0, 0, 0.5), TimelinePoint(1.0, 1, 0.5)]
    assert temporal(points, ("face", 0), BOUNDS) is None
