"""The weights that ship, by their row: whether they load, and what no recording's history may change."""

from pathlib import Path

import numpy as np
import pytest

from models.detectors.catalogue import ModelRow, load_detector, read_catalogue
from models.detectors.contract import Detector
from models.fusion import calibrated, sigmoid
from tests.unit.training.speech import spoken

VOICE = np.resize(spoken(16), 64_000)


@pytest.fixture(scope="module")
def row() -> ModelRow:
    return next(row for row in read_catalogue().every if row.id == "voice-v1")


@pytest.fixture(scope="module")
def detector(row: ModelRow) -> Detector:
    return load_detector(row)


def logit(detector: Detector, samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float:
    return detector.decide(detector.encode(samples[None]), np.zeros(1)).logit


def test_the_file_stays_small_enough_to_bundle(row: ModelRow) -> None:
    path = Path(__file__).resolve().parents[3] / "models" / "weights" / row.files["weights"].bundled
    assert path.stat().st_size < 1024 * 1024


def test_a_buzz_through_formants_that_nobody_spoke_is_called_fake(row: ModelRow, detector: Detector) -> None:
    verdict = read_catalogue().verdict
    assert sigmoid(calibrated(row, logit(detector, VOICE))) > verdict.fake_above


@pytest.mark.parametrize("level_db", [-30, -12])
def test_a_quieter_recording_scores_the_same(detector: Detector, level_db: float) -> None:
    assert logit(detector, VOICE * np.float32(10 ** (level_db / 20))) == pytest.approx(logit(detector, VOICE), abs=1e-3)
