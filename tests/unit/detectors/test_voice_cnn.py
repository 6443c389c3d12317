from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.detectors.contract import Recipe
from models.detectors.voice_cnn import VoiceCnn, VoiceCnnDetector, bands, load
from models.errors import CatalogueError, WeightsError
from models.types import View
from tests.checkpoints import assert_batch_invariant, assert_strict, written

RECIPE = Recipe("voice", {}, View(region="audio", size=32_000, fit="repeat", count=16), labels=("fake",))


def random_tensors() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return VoiceCnn().state_dict()


def voices(rows: int) -> NDArray[np.float32]:
    """2 s of a gliding buzz in noise, each row of another pitch."""
    rng = np.random.default_rng(5)
    t = np.arange(32_000) / 16_000
    buzz = [np.sign(np.sin(2 * np.pi * (100 + 20 * row) * (t + 0.1 * t * t))) for row in range(rows)]
    return (0.1 * np.stack(buzz) + rng.normal(0, 0.01, (rows, len(t)))).astype(np.float32)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> VoiceCnnDetector:
    return load(written(RECIPE, random_tensors(), tmp_path_factory.mktemp("weights")))


@pytest.mark.parametrize("key", ["stem.weight", "halvings.1.same_norm.running_var", "head.bias"])
def test_a_renamed_missing_or_misshapen_key_is_named(key: str, tmp_path: Path) -> None:
    assert_strict(load, RECIPE, random_tensors(), key, tmp_path)


def test_a_row_scores_the_same_alone_and_among_others(detector: VoiceCnnDetector) -> None:
    assert_batch_invariant(detector, voices(3))


@pytest.mark.parametrize("level_db", [-40, -20, 15])
def test_the_level_of_a_sound_does_not_change_its_score(detector: VoiceCnnDetector, level_db: float) -> None:
    louder = voices(2) * np.float32(10 ** (level_db / 20))
    assert detector.encode(louder) == pytest.approx(detector.encode(voices(2)), abs=1e-3)


def test_a_filter_that_colours_all_of_a_sound_alike_is_taken_off() -> None:
    noise = torch.randn(1, 32_000, generator=torch.Generator().manual_seed(1))
    noise *= torch.linspace(0.1, 1, 32_000)
    coloured = noise - 0.7 * torch.roll(noise, 1)
    assert float((bands(coloured) - bands(noise)).abs().mean()) < 0.1


def test_bands_have_one_row_per_band_and_one_column_per_10_ms() -> None:
    assert bands(torch.zeros(2, 32_000)).shape == (2, 1, 224, 201)


def test_bands_have_unit_deviation_and_no_mean() -> None:
    seen = bands(torch.from_numpy(voices(1)))
    assert float(seen.std()) == pytest.approx(1, abs=0.01)
    assert float(seen.mean(3).abs().max()) < 1e-4


def test_a_silent_window_has_a_score(detector: VoiceCnnDetector) -> None:
    assert np.isfinite(detector.encode(np.zeros((1, 32_000), np.float32))).all()


def test_windows_of_any_length_have_a_score(detector: VoiceCnnDetector) -> None:
    assert detector.encode(np.concatenate([voices(1)] * 2, axis=1)).shape == (1, 1)


def test_a_sound_scores_the_mean_of_its_windows(detector: VoiceCnnDetector) -> None:
    score = detector.decide(np.array([[1], [4]], np.float32), np.array([0.0, 1.0]))
    assert score.logit == pytest.approx(2.5)
    assert score.windows_s == ((0.0, 2.0), (1.0, 3.0))


def test_the_network_is_small_enough_to_bundle() -> None:
    assert sum(tensor.numel() for tensor in random_tensors().values()) < 400_000


def test_labels_that_do_not_fit_one_output_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="1 outputs and 2 labels"):
        load(written(replace(RECIPE, labels=("real", "fake")), random_tensors(), tmp_path))


def test_an_unknown_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="has no option hop"):
        load(written(replace(RECIPE, options={"hop": 2}), random_tensors(), tmp_path))
