import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from models.detectors.catalogue import CATALOGUE_FILE, Catalogue, ModelRow, read_catalogue
from tests.unit.training.recorded import recorded
from training.evaluation.calibrate import Target, calibrate, changes, data_of, fit, lines, notes
from training.evaluation.errors import EvaluationError
from training.evaluation.records import DetectorScore, Record

IDS = ("mobilenet-sbi-v1", "mesonet-meso4-df", "aasist-l")


def rows(*ids: str) -> tuple[ModelRow, ...]:
    return read_catalogue(served=ids).rows


def with_second(records: list[Record], skill: float) -> list[Record]:
    """The same items, also scored by a second detector."""
    other = recorded(len(records) // 2, skill=skill, detector=IDS[1])[::-1]
    by_side = {side: [r for r in other if r.fake == side] for side in (False, True)}
    found = []
    for record in records:
        score = by_side[record.fake].pop().detectors[0]
        found.append(replace(record, detectors=(*record.detectors, score)))
    return found


def test_a_detector_without_calibration_gets_one_that_lowers_its_error() -> None:
    records = recorded(300, skill=0.8)  # log odds are 0.8 times these logits
    skewed = [
        replace(r, detectors=(replace(r.detectors[0], logit=5 * (r.detectors[0].logit or 0) + 4),)) for r in records
    ]
    data = data_of(skewed, rows(IDS[0]))
    line = lines(data, fit(data))[0]
    assert line.ece_after < line.ece_before / 2
    assert line.auc_after.value == pytest.approx(line.auc_before.value, abs=0.01)


def test_the_ensemble_of_two_is_not_worse_than_its_best_and_a_wrong_one_gets_the_least_weight() -> None:
    data = data_of(with_second(recorded(200), -1.0), rows(*IDS[:2]))
    found = fit(data)
    assert found.weights.tolist() == [1.0, 0.01]
    best, _, ensemble = lines(data, found)
    assert ensemble.auc_after.value >= best.auc_after.value - 0.01
    assert any("wrong way round" in note and IDS[1] in note for note in notes(data, found, lines(data, found)))


def test_what_listens_is_not_weighed_against_what_looks() -> None:
    records = [
        replace(r, detectors=(*r.detectors, DetectorScore(IDS[2], "ok", 0.5, float(r.fake) + 0.1)))
        for r in recorded(50)
    ]
    assert fit(data_of(records, rows(IDS[0], IDS[2]))).weights.tolist() == [1.0, 1.0]


def test_what_is_only_reported_is_calibrated_and_has_no_part_in_the_ensemble() -> None:
    one, other = rows(*IDS[:2])
    shy = other.model_copy(update={"fused": False})
    data = data_of(with_second(recorded(50), 1.0), (one, shy))
    assert [line.name for line in lines(data, fit(data))] == list(IDS[:2])
    assert np.array_equal(fit(data).ensemble(data), fit(data).calibrated(data)[:, 0])


def test_a_detector_with_too_few_scores_is_left_alone() -> None:
    assert [row.id for row in data_of(recorded(20), rows(*IDS[:2])).rows] == [IDS[0]]


def test_scores_of_no_detector_are_an_error() -> None:
    with pytest.raises(EvaluationError, match="nothing can be fitted"):
        data_of(recorded(3), rows(IDS[0]))


def test_the_measured_line_names_data_date_counts_and_interval() -> None:
    data = data_of(recorded(30), rows(IDS[0]))
    change = changes(data, fit(data), Target(None, "portraits", "val"))[0]
    assert change.measured.startswith("portraits, val (20")
    assert "30 real, 30 fake, 60 groups" in change.measured
    assert "AUC of clips 0." in change.measured
    assert change.scale > 0
    assert np.isclose(change.scale, fit(data).platts[0].scale, rtol=1e-3)


@pytest.mark.parametrize("writes", [False, True])
def test_the_catalogue_changes_only_when_asked(tmp_path: Path, *, writes: bool) -> None:
    path = tmp_path / "models.yaml"
    path.write_bytes(CATALOGUE_FILE.read_bytes())
    catalogue: Catalogue = read_catalogue(path)
    text = io.StringIO()
    calibrate(recorded(30), catalogue, Target(path if writes else None, "d", ""), Console(file=text, width=200))
    assert ("written: " in text.getvalue()) == writes
    assert (path.read_bytes() != CATALOGUE_FILE.read_bytes()) == writes
    assert "ECE before" in text.getvalue()
