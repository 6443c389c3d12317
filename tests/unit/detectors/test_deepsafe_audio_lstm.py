from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.detectors.contract import Recipe
from models.detectors.deepsafe_audio_lstm import DeepSafeAudioLstm, load, mel_db, mel_filters, steps
from models.errors import CatalogueError, WeightsError
from models.types import View
from tests.checkpoints import assert_batch_invariant, assert_strict, written

RECIPE = Recipe("deepsafe", {}, View(region="audio", size=64_000, hop=48_000, fit="pad", count=20))
SHAPES = {
    "lstm1.weight_ih_l0": (1024, 128),
    "lstm1.weight_hh_l0": (1024, 256),
    "lstm1.bias_ih_l0": (1024,),
    "lstm1.bias_hh_l0": (1024,),
    "lstm2.weight_ih_l0": (512, 256),
    "lstm2.weight_hh_l0": (512, 128),
    "lstm2.bias_ih_l0": (512,),
    "lstm2.bias_hh_l0": (512,),
    "fc1.weight": (64, 128),
    "fc1.bias": (64,),
    "fc2.weight": (2, 64),
    "fc2.bias": (2,),
}


def random_tensors() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(29)
    return {key: 0.1 * torch.randn(shape, generator=draw) for key, shape in SHAPES.items()}


def chirp() -> NDArray[np.float32]:
    """4 s: a tone that rises from 100 to 3,700 Hz and swells, over a faint one that sweeps too fast to follow."""
    i = np.arange(64_000.0)
    t = i / 16_000
    swell = 0.2 + 0.8 * np.sin(2 * np.pi * 1.3 * t) ** 2
    sweep = np.sin(0.37 * (i % 4096) ** 2)
    return (0.4 * swell * np.sin(2 * np.pi * (100 * t + 450 * t * t)) + 0.002 * sweep).astype(np.float32)


def sounds(rows: int) -> NDArray[np.float32]:
    random = np.random.default_rng(31)
    return (np.linspace(0.2, 1, rows)[:, None] * chirp() + random.normal(0, 0.01, (rows, 64_000))).astype(np.float32)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> DeepSafeAudioLstm:
    return load(written(RECIPE, random_tensors(), tmp_path_factory.mktemp("weights")))


# Of librosa 0.11.0: power_to_db(feature.melspectrogram(y=chirp(), sr=16000, n_fft=2048, hop_length=512, n_mels=128,
# fmax=8000), ref=np.max), at (mel, step).
LIBROSA_DB = {
    (0, 0): -32.8906,
    (3, 1): -22.6173,
    (10, 5): -0.9422,
    (20, 30): -65.2968,
    (40, 60): -65.0300,
    (64, 62): -67.4386,
    (90, 100): -68.2912,
    (127, 124): -60.5076,
    (127, 0): -70.7263,
    (13, 125): -52.9800,
}


def reference(tensors: dict[str, Tensor], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(T, 128)` features to 2 logits: the gates written out, in double precision."""
    state = {key: tensor.double().numpy() for key, tensor in tensors.items()}
    for name in ("lstm1", "lstm2"):
        weight_x, weight_h = state[f"{name}.weight_ih_l0"], state[f"{name}.weight_hh_l0"]
        bias = state[f"{name}.bias_ih_l0"] + state[f"{name}.bias_hh_l0"]
        h = c = np.zeros(weight_h.shape[1])
        out = []
        for step in x:
            i, f, g, o = np.split(weight_x @ step + weight_h @ h + bias, 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            out.append(h)
        x = np.stack(out)
    hidden = np.maximum(state["fc1.weight"] @ x[-1] + state["fc1.bias"], 0)
    logits: NDArray[np.float64] = state["fc2.weight"] @ hidden + state["fc2.bias"]
    return logits


def test_the_mel_spectrogram_is_that_of_librosa() -> None:
    db = mel_db(torch.from_numpy(chirp()[None]), mel_filters())[0]
    assert db.shape == (128, 126)
    assert {at: float(db[at]) for at in LIBROSA_DB} == pytest.approx(LIBROSA_DB, abs=2e-3)


def test_the_mel_spectrogram_reaches_from_its_loudest_value_80_db_down() -> None:
    half_silent = chirp() * (np.arange(64_000) < 32_000)
    db = mel_db(torch.from_numpy(half_silent.astype(np.float32)[None]), mel_filters())
    assert (float(db.min()), float(db.max())) == (-80, 0)


def test_steps_run_from_0_to_1_and_are_zero_after_the_sound() -> None:
    x = steps(torch.linspace(-80, 0, 128 * 126).reshape(1, 128, 126))
    assert x.shape == (1, 300, 128)
    assert (float(x[:, :126].min()), float(x[:, :126].max())) == (0, 1)
    assert not x[:, 126:].any()


def test_steps_of_a_longer_sound_are_cut_to_300() -> None:
    assert steps(torch.rand(1, 128, 400)).shape == (1, 300, 128)


def test_a_silent_window_has_a_score(detector: DeepSafeAudioLstm) -> None:
    assert np.isfinite(detector.encode(np.zeros((1, 64_000), np.float32))).all()


def test_the_logits_are_those_of_the_network_written_out(detector: DeepSafeAudioLstm) -> None:
    rows = sounds(2)
    features = steps(mel_db(torch.from_numpy(rows), mel_filters())).double().numpy()
    expected = [reference(random_tensors(), x) for x in features]
    assert np.abs(detector.encode(rows) - expected).max() < 1e-5


@pytest.mark.parametrize("key", ["lstm1.weight_hh_l0", "lstm2.bias_ih_l0", "fc2.bias"])
def test_a_renamed_missing_or_misshapen_key_is_named(key: str, tmp_path: Path) -> None:
    assert_strict(load, RECIPE, random_tensors(), key, tmp_path)


def test_a_row_scores_the_same_alone_and_among_others(detector: DeepSafeAudioLstm) -> None:
    assert_batch_invariant(detector, sounds(3))


def test_a_sound_scores_the_mean_probability_of_its_windows(detector: DeepSafeAudioLstm) -> None:
    p_fake = np.array([0.9, 0.5])
    outputs = np.stack([np.zeros(2), np.log(p_fake / (1 - p_fake))], axis=1).astype(np.float32)
    score = detector.decide(outputs, np.array([0.0, 3.0]))
    assert 1 / (1 + np.exp(-score.logit)) == pytest.approx(0.7)
    assert score.windows_s == ((0.0, 4.0), (3.0, 7.0))


def test_a_score_beyond_what_a_float_holds_stays_finite(detector: DeepSafeAudioLstm) -> None:
    assert np.isfinite(detector.decide(np.array([[0, 1e4]], np.float32), np.zeros(1)).logit)


def test_labels_of_a_row_that_say_the_opposite_turn_the_score(tmp_path: Path) -> None:
    turned = load(written(replace(RECIPE, labels=("fake", "real")), random_tensors(), tmp_path))
    assert turned.decide(np.array([[0, 2]], np.float32), np.zeros(1)).logit == pytest.approx(-2)


def test_labels_that_do_not_fit_two_outputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="2 outputs and 1 labels"):
        load(written(replace(RECIPE, labels=("fake",)), random_tensors(), tmp_path))


def test_an_unknown_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="has no option hop"):
        load(written(replace(RECIPE, options={"hop": 2}), random_tensors(), tmp_path))
