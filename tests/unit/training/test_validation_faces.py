import io
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from tests.unit.training.portrait import astronaut
from training.portraits import Portrait
from training.validation.faces import FACE_PX, FaceStudio, drawn_history, seen_by_camera


def small(name: str) -> Portrait:
    """The astronaut at a third of her size, so that forging takes a moment."""
    whole = astronaut()
    rgb = cv2.resize(whole.rgb, (90, 90), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return Portrait(name, rgb, whole.box_xyxy / np.float32(3), whole.points / np.float32(3))


@pytest.fixture
def studio(tmp_path: Path) -> FaceStudio:
    """Two persons, the second a mirror image; no networks."""
    first = small("a")
    return FaceStudio((first, replace(first, name="b", rgb=np.ascontiguousarray(first.rgb[:, :, ::-1]))), tmp_path)


def frames_of(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with av.open(io.BytesIO(content), "r") as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]).astype(np.uint8)


@pytest.mark.parametrize("family", ["self_blend", "face_swap"])
def test_a_clip_and_its_forgery_differ_in_the_face_more_than_elsewhere(studio: FaceStudio, family: str) -> None:
    pair = next(pair for pair in studio.planned("clips") if pair.family == family)
    real, fake = (frames_of(content).astype(int) for content in studio.written(pair))
    assert real.shape == fake.shape
    assert 20 <= len(real) <= 50
    change = np.abs(real - fake).mean(axis=(0, 3))
    height, width = change.shape
    assert (
        change[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4].mean() > 2 * change[:, : width // 8].mean()
    )


def test_a_picture_and_its_forgery_have_one_format_and_one_size(studio: FaceStudio) -> None:
    pair = next(pair for pair in studio.planned("pictures") if pair.family == "face_swap")
    real, fake = (Image.open(io.BytesIO(content)) for content in studio.written(pair))
    assert (real.format, real.size) == (fake.format, fake.size)


def test_a_pair_is_the_same_whenever_it_is_written(studio: FaceStudio) -> None:
    pair = next(pair for pair in studio.planned("pictures") if pair.family == "self_blend")
    assert studio.written(pair) == studio.written(pair)


def test_a_swap_has_the_group_of_both_persons(studio: FaceStudio) -> None:
    assert {pair.group for pair in studio.planned("clips") if pair.family == "face_swap"} == {"b|a"}


def test_the_face_is_large_enough_to_be_found_and_compression_is_left_to_the_file() -> None:
    for seed in range(40):
        how = drawn_history(np.random.default_rng(seed))
        assert FACE_PX[0] <= how.face_side <= FACE_PX[1]
        assert (how.jpeg, how.crf) == (0, 0)


def test_noise_is_another_in_every_frame_and_the_same_in_both_of_a_pair() -> None:
    face = small("a")
    how = replace(drawn_history(np.random.default_rng(0)), noise=5.0)
    first, second = (np.stack(list(seen_by_camera(np.stack([face.rgb] * 2), face, how))) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1])
