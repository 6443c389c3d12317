from pathlib import Path

import numpy as np
import pytest

from models.media import Limits, Request, read
from tests import media
from training.evaluation.degrade import FADERS, STRENGTHS, Variant, changed, degraded, variant, variants
from training.evaluation.measures import Measures, measure


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("media")
    content = {
        "video": ("a.mp4", media.clip(12, sound=media.tone(0.4))),
        "image": ("a.jpg", media.still(media.gradient())),
        "audio": ("a.wav", media.sound_only(media.tone(1.0), "wav", "pcm_s16le")),
    }
    found = {}
    for kind, (name, data) in content.items():
        found[kind] = folder / name
        found[kind].write_bytes(data)
    return found


def measured(path: Path) -> Measures:
    return measure(path, Limits())


@pytest.mark.parametrize("kind", FADERS)
def test_every_degradation_has_five_strengths_that_can_be_found_by_name(kind: str) -> None:
    for how in variants(kind):
        assert variant(kind, str(how)) == how
    assert len(variants(kind)) == 3 * len(STRENGTHS)


@pytest.mark.parametrize("kind", FADERS)
def test_degrading_twice_gives_the_same_bytes(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    for name in FADERS[kind]:
        first = degraded(files[kind], kind, variant(kind, f"{name} 3"), tmp_path).read_bytes()
        assert degraded(files[kind], kind, variant(kind, f"{name} 3"), tmp_path).read_bytes() == first


@pytest.mark.parametrize("kind", FADERS)
def test_stronger_compression_gives_smaller_files(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    names = (f"compression {strength}" for strength in STRENGTHS)
    sizes = [degraded(files[kind], kind, variant(kind, name), tmp_path).stat().st_size for name in names]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


def test_a_video_keeps_its_length_and_its_sound(files: dict[str, Path], tmp_path: Path) -> None:
    before = measured(files["video"])
    after = measured(degraded(files["video"], "video", variant("video", "compression 5"), tmp_path))
    assert after.duration_s == pytest.approx(before.duration_s, abs=0.02)
    assert after.width == before.width
    assert after.loudness_db == pytest.approx(before.loudness_db, abs=1)


def test_gentle_coding_keeps_the_colours_of_a_video(files: dict[str, Path], tmp_path: Path) -> None:
    pictures = []
    for path in (files["video"], degraded(files["video"], "video", Variant("noise", 1, 0), tmp_path)):
        with read(path, Request(counts=(1,))) as stream:
            pictures.append(next(iter(stream.frames())).pixels.astype(float))
    assert np.abs(pictures[0].mean(axis=(0, 1)) - pictures[1].mean(axis=(0, 1))).max() < 4


def test_a_turned_video_is_degraded_upright(tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    path.write_bytes(media.clip(5, coding=media.Coding(rotation=90)))
    worse = measured(degraded(path, "video", variant("video", "compression 1"), tmp_path))
    assert worse.width == measured(path).width == 96


def test_scale_shrinks_each_side(files: dict[str, Path], tmp_path: Path) -> None:
    assert measured(degraded(files["image"], "image", variant("image", "scale 2"), tmp_path)).width == 80


def test_level_is_lowered_by_its_decibels(files: dict[str, Path], tmp_path: Path) -> None:
    before = measured(files["audio"]).loudness_db or 0
    after = measured(degraded(files["audio"], "audio", variant("audio", "level 3"), tmp_path)).loudness_db
    assert after == pytest.approx(before - 18, abs=0.1)


def test_noise_has_the_standard_deviation_it_is_named_by() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = changed(grey, variant("image", "noise 3"), np.random.default_rng(0))
    assert float(noisy.astype(float).std()) == pytest.approx(10, rel=0.02)


def test_measures_of_sound_and_picture_leave_out_what_they_have_not(files: dict[str, Path]) -> None:
    sound, picture = measured(files["audio"]), measured(files["image"])
    assert (sound.width, sound.sharpness) == (None, None)
    assert (picture.duration_s, picture.bit_rate, picture.loudness_db) == (None, None, None)
    assert sound.loudness_db == pytest.approx(-15, abs=0.2)  # a sine of amplitude 1/4


def test_what_cannot_be_decoded_still_has_a_size(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"nothing" * 9)
    assert measured(path) == Measures(63)
