import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.training.speech import spoken
from training.forgeries.voice import FAMILIES, HELD_OUT, TRAINING_FAMILIES, copy_synthesis, dispersed, levelled
from training.forgeries.voice_analysis import mel_filters, stft

VOICE = spoken()


def forged(family: str, seed: int = 0, voice: NDArray[np.float32] = VOICE) -> NDArray[np.float32]:
    return copy_synthesis(voice, family, np.random.default_rng(seed))


def loudness(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.sqrt(np.convolve(samples.astype(np.float64) ** 2, np.ones(400) / 400, "same"))


def tone_db(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Long-term power in 20 mel bands, in dB."""
    power = (np.abs(stft(samples)) ** 2).mean(axis=0)
    decibels: NDArray[np.float64] = 10 * np.log10(power @ mel_filters(20).T + 1e-9)
    return decibels


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_has_the_length_the_type_and_the_level_of_the_voice(family: str) -> None:
    copy = forged(family)
    assert copy.shape == VOICE.shape
    assert copy.dtype == np.float32
    assert np.std(copy) == pytest.approx(np.std(VOICE), rel=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_rises_and_falls_with_the_voice_at_the_same_moments(family: str) -> None:
    real, copy = loudness(VOICE), loudness(forged(family))
    alike = {shift: np.corrcoef(real, np.roll(copy, -shift))[0, 1] for shift in range(-480, 481, 40)}
    assert alike[0] > 0.85
    best = max(alike, key=lambda shift: float(alike[shift]))
    assert -80 <= best <= 80


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_is_another_sound_with_the_tone_of_the_voice(family: str) -> None:
    copy = forged(family)
    audible = tone_db(VOICE) > tone_db(VOICE).max() - 30
    audible[0] = False  # below the pitch, where a pulse has what no voice has
    assert np.abs(copy - VOICE).mean() > 0.3 * np.abs(VOICE).mean()
    assert np.abs(tone_db(copy) - tone_db(VOICE))[audible].max() < 6


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_seeds_give_equal_copies_and_others_do_not(family: str) -> None:
    assert np.array_equal(forged(family, 1), forged(family, 1))
    assert not np.array_equal(forged(family, 1), forged(family, 2))


@pytest.mark.parametrize("family", FAMILIES)
def test_copying_leaves_the_voice_as_it_was(family: str) -> None:
    before = VOICE.copy()
    forged(family)
    assert np.array_equal(before, VOICE)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [1, 700])
def test_silence_stays_silence_however_short(family: str, length: int) -> None:
    assert not forged(family, voice=np.zeros(length, np.float32)).any()


@pytest.mark.parametrize("family", FAMILIES)
def test_noise_without_a_voice_is_copied_at_its_level(family: str) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    assert np.std(forged(family, voice=noise)) == pytest.approx(0.1, rel=0.05)


def test_griffin_lim_keeps_the_magnitudes_and_not_the_phases() -> None:
    real, copy = stft(VOICE), stft(forged("griffin_lim"))
    loud = np.abs(real) > 0.01 * np.abs(real).max()
    change_db = 20 * np.log10(np.abs(copy[loud]) / np.abs(real[loud]))
    turned = np.abs(np.angle(copy[loud] / real[loud]))
    assert np.median(np.abs(change_db)) < 2
    assert turned.mean() > 1


def test_mel_inversion_blurs_harmonics_high_up_that_griffin_lim_keeps() -> None:
    """Ripple over the bins from 2 to 3 kHz, where the deepest voice's harmonics still stand apart."""

    def ripple_db(samples: NDArray[np.float32]) -> float:
        levels = 20 * np.log10(np.abs(stft(samples))[40:60, 64:96] + 1e-4)
        return float(np.abs(np.diff(levels, axis=1)).mean())

    voice = spoken(pitch_hz=200)
    kept, blurred = (np.mean([ripple_db(forged(name, s, voice)) for s in range(3)]) for name in FAMILIES_IN_QUESTION)
    assert blurred < 0.95 * kept


FAMILIES_IN_QUESTION = ("griffin_lim", "mel_inversion")


@pytest.mark.parametrize("family", ["lpc", "world"])
def test_a_pulsed_voice_is_peakier_than_the_noise_it_is_made_of(family: str) -> None:
    copy = forged(family)
    crest = np.abs(copy).max() / copy.std()
    assert 3 < crest < 20


def test_one_family_is_kept_for_validation() -> None:
    assert HELD_OUT in FAMILIES
    assert set(TRAINING_FAMILIES) == set(FAMILIES) - {HELD_OUT}


def test_levelling_gives_the_root_mean_square_of_the_other() -> None:
    assert levelled(np.array([1, -1], np.float32), np.array([0.5, 0.5], np.float32)).tolist() == [0.5, -0.5]


def test_pulses_that_peak_higher_than_the_voice_are_spread_and_keep_their_magnitudes() -> None:
    pulses = np.zeros(8000, np.float32)
    pulses[1000::100] = 1
    spread = dispersed(pulses, VOICE, np.random.default_rng(0))
    assert np.abs(spread).max() < 0.7
    kept, before = (np.abs(np.fft.rfft(sound))[1:-5] for sound in (spread, pulses))
    assert kept == pytest.approx(before, abs=2)


def test_a_copy_that_peaks_as_high_as_the_voice_is_left_as_it_is() -> None:
    assert np.array_equal(dispersed(VOICE, VOICE, np.random.default_rng(0)), VOICE)
