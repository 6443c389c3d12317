import numpy as np
import pytest

from models.errors import CorruptMedia, TooLong
from models.media import SAMPLE_RATE_HZ, Limits, Request, at_fixed_loudness, is_silent, read_in_process
from models.media.audio import ACTIVE_LEVEL_DB, Samples, audible_s
from tests import media
from tests.media import Coding, clip


def _sound(data: bytes, request: Request | None = None, limits: Limits | None = None) -> Samples | None:
    with read_in_process(data, request or Request(counts=(2,), audio=True), limits) as stream:
        return stream.audio()


def _level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples.astype(np.float64)))))


def _tone_16k(amplitude: float, seconds: float = 1.0) -> Samples:
    return media.tone(seconds, amplitude)[::3].copy()


FILES = {
    "aac in mp4": lambda: clip(30, sound=media.tone(1)),
    "opus in webm": lambda: clip(30, coding=Coding("webm", "libvpx"), sound=media.tone(1), sound_codec="libopus"),
    "pcm in avi": lambda: clip(30, coding=Coding("avi", "mpeg4"), sound=media.tone(1), sound_codec="pcm_s16le"),
    "mp3 in avi": lambda: clip(30, coding=Coding("avi", "mpeg4"), sound=media.tone(1), sound_codec="libmp3lame"),
    "flac in matroska": lambda: clip(30, coding=Coding("matroska"), sound=media.tone(1), sound_codec="flac"),
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES.keys())
def test_sound_comes_as_16_khz_mono_at_the_fixed_level(make: object) -> None:
    assert callable(make)
    samples = _sound(make())
    assert samples is not None
    assert samples.dtype == np.float32
    assert abs(len(samples) - SAMPLE_RATE_HZ) < 0.1 * SAMPLE_RATE_HZ
    assert abs(_level_db(samples[2000:14000]) - ACTIVE_LEVEL_DB) < 1
    spectrum = np.abs(np.fft.rfft(samples[:SAMPLE_RATE_HZ]))
    assert abs(np.argmax(spectrum) * SAMPLE_RATE_HZ / len(samples[:SAMPLE_RATE_HZ]) - 440) < 3


@pytest.mark.parametrize(
    ("container", "codec"), [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("flac", "flac"), ("ogg", "libopus")]
)
def test_a_recording_without_pictures_is_read_when_none_are_wanted(container: str, codec: str) -> None:
    data = media.sound_only(media.tone(1), container, codec)
    with read_in_process(data, Request(audio=True)) as stream:
        samples = stream.audio()
    assert samples is not None
    assert stream.probe.container == container
    assert stream.probe.audio_s == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("audio", [False, True])
def test_a_recording_is_read_for_what_it_is_when_pictures_are_wanted(audio: bool) -> None:
    data = media.sound_only(media.tone(1), "wav", "pcm_s16le")
    with read_in_process(data, Request(counts=(4,), audio=audio)) as stream:
        assert list(stream.frames()) == []
        assert (stream.audio() is not None) is audio
    assert (stream.probe.codec, stream.probe.audio_codec, stream.probe.audio_s) == ("", "pcm_s16le", 1.0)


def test_a_recording_of_an_m4a_is_called_one() -> None:
    data = media.sound_only(media.tone(1), "ipod", "aac")
    with read_in_process(data, Request(audio=True)) as stream:
        assert (stream.probe.container, stream.probe.audio_codec) == ("m4a", "aac")


def test_sound_of_a_codec_off_the_list_is_left_out_beside_pictures() -> None:
    with read_in_process(clip(3, sound=media.tone(0.5), sound_codec="alac"), Request((2,), audio=True)) as stream:
        assert stream.audio() is None
    assert (stream.probe.audio_codec, stream.probe.audio_s) == ("alac", 0.0)


def test_a_recording_of_which_nothing_can_be_decoded_is_corrupt() -> None:
    data = media.sound_only(media.tone(1), "matroska", "flac")
    with pytest.raises(CorruptMedia), read_in_process(_without_frames(data), Request(audio=True)) as stream:
        stream.audio()


def _without_frames(flac_in_matroska: bytes) -> bytes:
    """Every FLAC frame begins with a sync code of 14 bits; without it a packet is nothing."""
    return flac_in_matroska.replace(b"\xff\xf8", b"\0\0")


def test_a_clip_without_sound_has_none() -> None:
    assert _sound(clip(3)) is None


def test_sound_that_was_not_asked_for_is_not_decoded() -> None:
    assert _sound(clip(30, sound=media.tone(1)), Request(counts=(2,))) is None


def test_sound_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(TooLong):
        _sound(clip(3, sound=media.tone(2)), limits=Limits(max_duration_s=1))


@pytest.mark.parametrize("amplitude", [0.002, 0.02, 0.3, 1.0])
def test_loudness_is_the_same_however_loud_the_recording(amplitude: float) -> None:
    assert _level_db(at_fixed_loudness(_tone_16k(amplitude))) == pytest.approx(ACTIVE_LEVEL_DB, abs=0.2)


def test_pauses_do_not_make_speech_louder() -> None:
    speech = _tone_16k(0.1)
    with_pause = np.concatenate([speech, np.full(3 * SAMPLE_RATE_HZ, 1e-3, np.float32)])
    assert _level_db(at_fixed_loudness(with_pause)[:SAMPLE_RATE_HZ]) == pytest.approx(ACTIVE_LEVEL_DB, abs=0.2)


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(999, np.float32), _tone_16k(1e-4)])
def test_silence_is_silent_and_never_amplified(samples: Samples) -> None:
    assert is_silent(samples)
    assert np.array_equal(at_fixed_loudness(samples), samples)


def test_a_click_lowers_the_gain_instead_of_being_cut_off() -> None:
    samples = _tone_16k(0.003)
    samples[8000] = 0.9
    assert np.abs(at_fixed_loudness(samples)).max() <= 1
    assert not is_silent(samples)


def test_digital_silence_in_a_file_is_recognised() -> None:
    samples = _sound(clip(30, sound=media.silence(1)))
    assert samples is not None
    assert is_silent(samples)


def test_audible_sound_is_counted_without_its_pauses() -> None:
    pause = np.zeros(SAMPLE_RATE_HZ, np.float32)
    assert audible_s(np.concatenate([_tone_16k(0.1, 0.5), pause, _tone_16k(0.1, 0.25), pause])) == 0.75


def test_audible_sound_is_measured_before_its_level_is_raised() -> None:
    quiet = np.concatenate([media.tone(1, 0.01), media.tone(1, 1e-4)])  # the second is at -83 dB, after raising at -57
    with read_in_process(media.sound_only(quiet, "wav", "pcm_s16le"), Request(audio=True)) as stream:
        stream.audio()
    assert stream.audible_s == pytest.approx(1, abs=0.06)
