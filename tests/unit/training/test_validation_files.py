import io

import av
import numpy as np
import pytest
from PIL import Image

from tests.unit.training.speech import spoken
from training.validation.files import LARGEST_BYTES, SOUND, clip_bytes, picture_bytes, sound_bytes, within

RGB = np.random.default_rng(0).integers(0, 256, (61, 80, 3), np.uint8)
FRAMES = [np.roll(RGB, shift, axis=1) for shift in range(6)]


def test_a_clip_has_its_frames_its_rate_and_even_sides() -> None:
    with av.open(io.BytesIO(clip_bytes(FRAMES, 12, 30)), "r") as file:
        stream = file.streams.video[0]
        assert stream.average_rate == 12
        assert (stream.width, stream.height) == (80, 60)
        assert len(list(file.decode(video=0))) == 6


def test_equal_frames_give_equal_bytes() -> None:
    assert clip_bytes(FRAMES, 25, 23) == clip_bytes(FRAMES, 25, 23)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
def test_a_picture_is_what_its_suffix_says(suffix: str) -> None:
    with Image.open(io.BytesIO(picture_bytes(RGB, suffix, 80))) as picture:
        assert picture.format in {"JPEG", "WEBP", "PNG"}
        assert picture.size == (80, 61)


@pytest.mark.parametrize("suffix", list(SOUND))
def test_a_recording_of_any_format_is_as_long_and_as_loud(suffix: str) -> None:
    sound = spoken(4)
    with av.open(io.BytesIO(sound_bytes(sound, suffix, 48_000)), "r") as file:
        mixer = av.AudioResampler(format="flt", layout="mono", rate=16_000)
        frames = [part for frame in file.decode(audio=0) for part in mixer.resample(frame)] + mixer.resample(None)
    heard = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    assert abs(len(heard) - len(sound)) < 4000  # codecs pad to whole blocks
    assert heard.std() == pytest.approx(sound.std(), rel=0.1)


@pytest.mark.parametrize("suffix", list(SOUND))
def test_equal_sounds_give_equal_bytes(suffix: str) -> None:
    assert sound_bytes(spoken(2), suffix, 32_000) == sound_bytes(spoken(2), suffix, 32_000)


def test_both_of_a_pair_are_written_at_the_first_setting_that_keeps_both_small() -> None:
    asked = []

    def coded(setting: int) -> list[bytes]:
        asked.append(setting)
        return [b"small", b"x" * (LARGEST_BYTES + (1 if setting < 26 else 0))]

    assert len(within(coded, 20, 3)[1]) == LARGEST_BYTES
    assert asked == [20, 23, 26]


def test_files_that_never_get_small_enough_are_written_all_the_same() -> None:
    large = b"x" * (LARGEST_BYTES + 1)
    assert within(lambda _: [large, large], 90, -10) == (large, large)
