import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.training.speech import RATE_HZ, spoken
from training.forgeries.voice_augment import (
    BIT_RATES,
    RATES_HZ,
    Codec,
    VoiceDegradation,
    codec_delay,
    degrade_voice,
    draw_voice_degradation,
)

VOICE = spoken()
CODECS: tuple[Codec, ...] = ("mp3", "aac", "opus")


def rms_db(samples: NDArray[np.float32]) -> float:
    return float(20 * np.log10(np.std(samples)))


def late_by(samples: NDArray[np.float32]) -> int:
    """Samples by which a sound lags behind the voice."""
    shifts = range(-400, 401)
    return max(shifts, key=lambda shift: float(VOICE[500:-500] @ np.roll(samples, -shift)[500:-500]))


@pytest.mark.parametrize("seed", range(10))
def test_equal_sounds_of_a_pair_stay_equal_in_length_and_in_range(seed: int) -> None:
    how = draw_voice_degradation(np.random.default_rng(seed))
    once, again = degrade_voice(VOICE, how), degrade_voice(VOICE, how)
    assert np.array_equal(once, again)
    assert once.shape == VOICE.shape
    assert once.dtype == np.float32
    assert 0 < np.abs(once).max() <= 1


@pytest.mark.parametrize("seed", range(10))
def test_no_history_shifts_the_sound(seed: int) -> None:
    how = draw_voice_degradation(np.random.default_rng(seed))
    assert abs(late_by(degrade_voice(VOICE, how))) <= 2


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_keeps_time_at_every_bit_rate_and_loses_less_at_a_higher_one(codec: Codec) -> None:
    lost = []
    for bit_rate in BIT_RATES[codec]:
        coded = degrade_voice(VOICE, VoiceDegradation(codec=codec, bit_rate=bit_rate))
        assert abs(late_by(coded)) <= 2
        lost.append(np.std(coded - VOICE))
    assert 0 < lost[1] < lost[0] < np.std(VOICE)


def test_aac_comes_late_by_its_first_block_when_left_alone() -> None:
    assert codec_delay("aac") == 1024


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_lower_sampling_rate_takes_away_what_lies_above_half_of_it(rate_hz: int) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    narrow = degrade_voice(noise, VoiceDegradation(rate_hz=rate_hz))
    before, after = (np.abs(np.fft.rfft(part)) ** 2 for part in (noise, narrow))
    assert after[rate_hz // 2 + 300 :].sum() < 0.02 * before[rate_hz // 2 + 300 :].sum()
    assert after[: rate_hz // 2 - 1000].sum() == pytest.approx(before[: rate_hz // 2 - 1000].sum(), rel=0.05)


@pytest.mark.parametrize("snr_db", [10, 30])
@pytest.mark.parametrize("slope", [0, 1, 2])
def test_noise_lies_as_far_below_the_voice_as_asked(snr_db: float, slope: float) -> None:
    added = degrade_voice(VOICE, VoiceDegradation(snr_db=snr_db, noise_slope=slope)) - VOICE
    assert rms_db(VOICE) - rms_db(added) == pytest.approx(snr_db, abs=0.5)


def test_an_echo_follows_a_click_dies_away_and_never_comes_before_it() -> None:
    click = np.zeros(RATE_HZ, np.float32)
    click[1000] = 0.5
    heard = degrade_voice(click, VoiceDegradation(reverb_s=0.4, reverb_share=0.5))
    early, late = np.square(heard[1001:2600]).sum(), np.square(heard[4000:5600]).sum()
    assert np.abs(heard[:1000]).max() < 1e-6
    assert heard[1000] == pytest.approx(0.5)
    assert np.square(heard[1001:]).sum() == pytest.approx(0.5 * 0.5**2, rel=0.05)
    assert late < 0.01 * early


def test_the_level_is_as_asked_unless_the_peak_would_clip() -> None:
    assert rms_db(degrade_voice(VOICE, VoiceDegradation(level_dbfs=-30))) == pytest.approx(-30, abs=0.1)
    loud = degrade_voice(VOICE, VoiceDegradation(level_dbfs=-1))
    assert np.abs(loud).max() == pytest.approx(0.98, abs=1e-3)


def test_silence_can_be_degraded() -> None:
    silence = np.zeros(4000, np.float32)
    for seed in range(6):
        assert np.isfinite(degrade_voice(silence, draw_voice_degradation(np.random.default_rng(seed)))).all()


def test_the_defaults_leave_the_voice_as_it_is() -> None:
    assert np.array_equal(degrade_voice(VOICE, VoiceDegradation()), VOICE)
