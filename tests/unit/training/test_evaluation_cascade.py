import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from models.detectors.catalogue import CATALOGUE_FILE, CalibrationRow, CascadeRow, ModelRow, VerdictRow, read_catalogue
from tests.unit.training.recorded import recorded
from training.evaluation.calibrate import Target, calibrate
from training.evaluation.cascade import Goal, chosen, clips_of, frontier, points, priced, show
from training.evaluation.catalogue_text import write
from training.evaluation.errors import EvaluationError
from training.evaluation.records import DetectorScore, Record

CHEAP, DEAR = "mobilenet-sbi-v1", "mesonet-meso4-df"
BOUNDS = VerdictRow(real_below=0.4, fake_above=0.6)


def rows() -> list[ModelRow]:
    """The cheap one takes a quarter of the dear one."""
    found = read_catalogue(served=[CHEAP, DEAR])
    plain = {"calibration": CalibrationRow(scale=1.0, bias=0.0), "weight": 1.0}
    return [found.row(name).model_copy(update={**plain, "cost": cost}) for name, cost in ((CHEAP, 1.0), (DEAR, 4.0))]


def records(count: int = 60, seconds: float = 0.0) -> list[Record]:
    """Both detectors scored all; the dear one is better."""
    rng = np.random.default_rng(3)
    found = []
    for record in recorded(count, skill=1.0):
        logit = float(rng.normal(6.0 * (record.fake - 0.5)))
        dear = DetectorScore(DEAR, "ok", 0.5, logit, seconds=4 * seconds)
        found.append(replace(record, detectors=(replace(record.detectors[0], seconds=seconds), dear)))
    return found


def test_asking_everybody_costs_all_and_agrees_with_all() -> None:
    everybody = next(
        point
        for point in points(clips_of(records(), rows(), BOUNDS))
        if (point.bounds.real_below, point.bounds.fake_above) == (0.0, 1.0)
    )
    assert (everybody.cost, everybody.agreement) == (1.0, 1.0)


def test_what_is_saved_is_the_share_of_the_seconds_of_those_not_asked() -> None:
    sure = replace(records(1)[0], detectors=(DetectorScore(CHEAP, "ok", 0.9, 5.0), DetectorScore(DEAR, "ok", 0.9, 5.0)))
    unsure = replace(sure, detectors=(replace(sure.detectors[0], logit=0.0), sure.detectors[1]))
    found = points(clips_of([sure, unsure], rows(), BOUNDS))
    tight = next(p for p in found if (p.bounds.real_below, p.bounds.fake_above) == (0.4, 0.6))
    assert tight.saved == pytest.approx(4 / 10)
    assert tight.agreement == 1.0


def test_no_point_of_the_table_is_beaten_by_another() -> None:
    best = frontier(points(clips_of(records(), rows(), BOUNDS)))
    assert len(best) > 2
    assert all(b.cost < a.cost and b.agreement <= a.agreement for a, b in pairwise(best))


@pytest.mark.parametrize("least", [1.0, 0.98, 0.9, 0.0])
def test_bounds_for_an_agreement_reach_it_at_the_least_cost(least: float) -> None:
    found = points(clips_of(records(), rows(), BOUNDS))
    best = chosen(found, Goal(agreement=least))
    assert best.agreement >= least
    assert best.cost == min(point.cost for point in found if point.agreement >= least)


def test_bounds_for_a_cost_keep_to_it_and_agree_most() -> None:
    found = points(clips_of(records(), rows(), BOUNDS))
    best = chosen(found, Goal(cost=0.6))
    assert best.cost <= 0.6
    assert best.agreement == max(point.agreement for point in found if point.cost <= 0.6)


def test_a_cost_that_no_bounds_reach_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="No bounds take 1% of the compute or less; the least is"):
        chosen(points(clips_of(records(), rows(), BOUNDS)), Goal(cost=0.01))


def test_one_detector_of_a_kind_is_no_cascade() -> None:
    with pytest.raises(EvaluationError, match="two fused detectors of one kind"):
        clips_of(records(), rows()[:1], BOUNDS)


def test_the_price_of_a_detector_is_the_median_of_its_recorded_seconds() -> None:
    assert [row.cost for row in priced(records(seconds=0.25), rows())] == [0.25, 1.0]
    assert [row.cost for row in priced(records(), rows())] == [1.0, 4.0]


def test_the_table_says_the_order_and_what_each_choice_saves() -> None:
    text = io.StringIO()
    show(records(), rows(), BOUNDS, Console(file=text, width=120))
    assert f"face: {CHEAP} (1 s), then {DEAR} (4 s)" in text.getvalue()
    assert "compute saved" in text.getvalue()


def test_calibrate_writes_bounds_costs_and_what_they_rest_on(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_bytes(CATALOGUE_FILE.read_bytes())
    catalogue = read_catalogue(path, [CHEAP, DEAR])
    target = Target(path, "portraits", "val", Goal(agreement=0.95))
    calibrate(records(seconds=0.25), catalogue, target, Console(file=io.StringIO()))
    after = read_catalogue(path, [CHEAP, DEAR])
    assert [row.cost for row in after.rows] == [0.25, 1.0]
    assert after.cascade.measured.startswith("portraits, val (20")
    assert "120 clips, 120 groups" in after.cascade.measured
    assert after.cascade.real_below <= after.verdict.real_below


@pytest.mark.parametrize("has_section", [True, False])
def test_a_catalogue_gets_its_cascade_with_and_without_a_section(tmp_path: Path, *, has_section: bool) -> None:
    text = CATALOGUE_FILE.read_text("utf-8")
    start, end = text.index("\ncascade:") + 1, text.index("models:\n")
    path = tmp_path / "models.yaml"
    path.write_text(text if has_section else text[:start] + text[end:], "utf-8")
    wanted = CascadeRow(real_below=0.02, fake_above=0.97, measured='"here": 3 %')
    write(path, [], wanted)
    assert read_catalogue(path).cascade == wanted
    lines = path.read_text("utf-8").splitlines()
    assert [line for line in text.splitlines() if "#" in line] == [line for line in lines if "#" in line]
