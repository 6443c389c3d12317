import numpy as np
import pytest

from tests.unit.training.speech import RATE_HZ, spoken
from training.forgeries.voice_analysis import (
    BINS,
    HANN,
    HOP,
    LIFTER,
    WINDOW,
    envelope,
    framed,
    istft,
    linear_prediction,
    mel_filters,
    minimum_phase,
    pitch_hz,
    stft,
)


@pytest.mark.parametrize("length", [1, 100, 512, 5001])
def test_the_inverse_transform_gives_back_the_sound(length: int) -> None:
    sound = np.random.default_rng(0).standard_normal(length).astype(np.float32)
    assert stft(sound).shape == (length // HOP + 1, BINS)
    assert np.abs(istft(stft(sound), length) - sound).max() < 1e-5


def test_a_frame_lies_around_the_sample_it_is_named_after() -> None:
    click = np.zeros(2000, np.float32)
    click[5 * HOP] = 1
    assert framed(click)[5].argmax() == WINDOW // 2


@pytest.mark.parametrize("hz", [80, 120, 220, 350])
def test_the_pitch_of_a_buzz_is_found(hz: int) -> None:
    found = pitch_hz(np.sign(np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32))
    assert np.median(found[10:-10]) == pytest.approx(hz, rel=0.03)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    assert (pitch_hz(noise) > 0).mean() < 0.05
    assert not pitch_hz(np.zeros(RATE_HZ, np.float32)).any()


def test_a_minimum_phase_frame_keeps_its_magnitudes_and_comes_first() -> None:
    magnitude = envelope(np.abs(stft(spoken(2))))[10:20]
    spectrum = minimum_phase(magnitude)
    pulse = np.fft.irfft(spectrum, WINDOW, axis=1) ** 2
    assert np.allclose(np.abs(spectrum), magnitude, rtol=0.02)
    assert (pulse[:, :64].sum(axis=1) > 0.9 * pulse.sum(axis=1)).all()


def test_the_envelope_has_the_power_of_the_spectrum_and_none_of_its_harmonics() -> None:
    magnitude = np.abs(stft(spoken(4)))[20:-20]
    smooth = envelope(magnitude)
    fine = np.fft.irfft(np.log(smooth), axis=1)[:, LIFTER : WINDOW - LIFTER]
    assert np.allclose((smooth**2).mean(axis=1), (magnitude**2).mean(axis=1), rtol=0.01)
    assert np.abs(fine).max() < 1e-3


def test_linear_prediction_finds_the_filter_that_made_a_sound() -> None:
    excitation = np.random.default_rng(0).standard_normal(20_000)
    sound = np.zeros(20_000)
    for t in range(2, 20_000):
        sound[t] = 1.5 * sound[t - 1] - 0.8 * sound[t - 2] + excitation[t]
    (filters,) = linear_prediction(sound[None].astype(np.float32), 2)
    assert np.allclose(filters, [1, -1.5, 0.8], atol=0.03)


def test_linear_prediction_of_silence_filters_nothing() -> None:
    assert np.allclose(linear_prediction(np.zeros((3, WINDOW), np.float32), 8), np.eye(9)[0])


@pytest.mark.parametrize("bands", [64, 80, 100])
def test_every_mel_band_averages_a_place_above_the_one_before(bands: int) -> None:
    filters = mel_filters(bands)
    middles = (filters @ np.arange(BINS)) * RATE_HZ / WINDOW
    assert filters.shape == (bands, BINS)
    assert np.allclose(filters.sum(axis=1), 1)
    assert (np.diff(middles) >= 0).all()


def test_the_window_adds_up_evenly_when_it_hops() -> None:
    assert np.ptp((HANN**2).reshape(-1, HOP).sum(axis=0)) < 1e-5
