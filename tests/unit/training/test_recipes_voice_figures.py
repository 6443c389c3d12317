from pathlib import Path

import numpy as np
import pytest

from models.detectors.catalogue import read_catalogue
from tests.unit.training.speech import spoken
from training.recipes.smoke.data import write_data
from training.recipes.voice_figures import (
    TRIVIAL,
    Item,
    false_alarms,
    flatness,
    floor,
    high_band,
    interval,
    level,
    peakiness,
    real_items,
    threshold,
    told,
)
from training.vocoders.pairs import Family
from training.vocoders.speech import DIGITS, READ, Samples

VOICE = spoken(6)


def saved(folder: Path, quieter: float = 0.5, count: int = 6) -> Family:
    """Pairs of which the copy is quieter, or louder."""
    voices = np.stack([spoken(4, 100 + 10 * i) for i in range(count)])
    np.save(folder / "val-x.npy", np.rint(np.stack([voices, quieter * voices], axis=1) * 16_000).astype(np.int16))
    np.save(folder / "val-x.picks.npy", np.arange(count))
    return Family(folder / "val-x.npy")


def test_measures_that_do_not_listen_say_what_they_measure() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * np.float32(0.1)
    assert level(noise) == pytest.approx(-20, abs=0.2)
    assert peakiness(noise) > peakiness(np.sign(noise))
    assert high_band(noise) == pytest.approx(-3, abs=0.3)
    assert flatness(VOICE) < flatness(noise)
    assert floor(VOICE) < floor(noise)


def test_silence_has_a_value_by_every_measure() -> None:
    assert all(np.isfinite(score(np.zeros(16_000, np.float32))) for score in TRIVIAL.values())


@pytest.mark.parametrize("quieter", [0.5, 2.0])
def test_a_trivial_measure_counts_in_the_order_that_suits_it(tmp_path: Path, quieter: float) -> None:
    found = told("level", level, "x", saved(tmp_path, quieter), 6)
    assert found.auc > 0.8
    assert found.low <= found.auc <= found.high
    assert (found.pairs, found.recordings) == (6, 6)


def test_a_detector_that_is_wrong_is_not_turned_round(tmp_path: Path) -> None:
    assert told("voice-v1", level, "x", saved(tmp_path), 6).auc < 0.5


def test_an_interval_over_speakers_is_wide_where_one_speaker_has_all_the_alarms() -> None:
    values = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0], float)
    low, high = interval(values, list("aaabbbccc"))
    assert (low, high) == (0, 1)


def test_one_speaker_alone_says_nothing_of_others() -> None:
    assert interval(np.zeros(4), list("aaaa")) == (0, 1)


def test_false_alarms_are_counted_by_source_in_every_state() -> None:
    def loud(samples: Samples) -> float:
        return level(samples) + 26

    shares = list(false_alarms(loud, 0.0, {"here": [Item("a", VOICE)]}))
    assert len(shares) == 1 + 5 + 5 + 5 + 3
    by_state = {share.state: share.share for share in shares}
    assert by_state["level, dBFS -12 -18 -24 -30 -36: 1"] == 1
    assert by_state["level, dBFS -12 -18 -24 -30 -36: 5"] == 0


def test_digits_are_joined_by_speaker_and_sentences_are_not(tmp_path: Path) -> None:
    write_data(tmp_path, tmp_path / "boxes.json", seed=1)
    assert real_items(tmp_path, "val", DIGITS, 5) == []  # one digit is too short, and there is no more of it
    sentences = real_items(tmp_path, "val", READ, 4)
    assert [len(item.samples) for item in sentences] == [72_000] * 4


def test_the_operating_point_is_where_the_service_says_fake() -> None:
    catalogue = read_catalogue()
    row = catalogue.every[0]
    logit = threshold(catalogue, row.id)
    p_fake = 1 / (1 + np.exp(-(row.calibration.scale * logit + row.calibration.bias)))
    assert p_fake == pytest.approx(catalogue.verdict.fake_above)
