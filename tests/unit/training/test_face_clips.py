from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import save_file

from models.types import View
from tests.unit.training.portrait import astronaut
from training.augment import Degradation
from training.face_clips import clip_pair, filmed_crops, forged_clip, placed_boxes
from training.forgeries.families import FAMILIES, Forger
from training.forgeries.reconstruct import weights_path
from training.forgeries.reconstruct_net import ARCHITECTURES, new_net
from training.forgeries.temporal import moving_portrait

VIEW = View(region="face", size=64, margin=0.3)
FRAMES = 4


@pytest.fixture(scope="module")
def forger(tmp_path_factory: pytest.TempPathFactory) -> Forger:
    """Of two people, the second the first one's negative, with networks that have learnt nothing."""
    nets = tmp_path_factory.mktemp("nets")
    for architecture in ARCHITECTURES:
        save_file(new_net(architecture, 1).state_dict(), weights_path(nets, architecture, 1))
    return Forger([astronaut(), replace(astronaut(), name="another", rgb=255 - astronaut().rgb)], nets)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_makes_a_real_and_a_forged_clip_that_differ_in_every_frame(forger: Forger, family: str) -> None:
    face = moving_portrait(astronaut(), FRAMES, np.random.default_rng(3))
    real, forged = forged_clip(forger, family, astronaut(), face, np.random.default_rng(3))
    assert real.shape == forged.shape == face.frames.shape
    assert real.dtype == forged.dtype == np.uint8
    assert np.abs(real.astype(int) - forged).mean(axis=(1, 2, 3)).min() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_seeds_make_equal_clips(forger: Forger, family: str) -> None:
    first, again = (clip_pair(forger, family, astronaut(), VIEW, FRAMES, np.random.default_rng(5)) for _ in range(2))
    assert first.shape == (2, FRAMES, 64, 64, 3)
    assert np.array_equal(first, again)


def test_a_clip_of_one_frame_is_a_picture(forger: Forger) -> None:
    assert clip_pair(forger, "self_blend", astronaut(), VIEW, 1, np.random.default_rng(1)).shape == (2, 1, 64, 64, 3)


def test_the_history_of_a_clip_is_one_but_for_grain_and_the_face_box() -> None:
    how = Degradation(noise=3, noise_seed=7, gamma=1.1, crf=30)
    boxes = np.tile(np.array([10, 10, 60, 60], np.float32), (FRAMES, 1))
    histories = placed_boxes(boxes, how, np.random.default_rng(1))
    common = {replace(h, noise_seed=0, shift_xy=(0, 0), scale=1) for h in histories}
    assert common == {replace(how, noise_seed=0)}
    assert len({h.noise_seed for h in histories}) == len({h.shift_xy for h in histories}) == FRAMES


@pytest.mark.parametrize("how", [Degradation(), Degradation(face_side=60, crf=28, flip=True)], ids=["clean", "coded"])
def test_equal_clips_stay_equal_through_a_history(how: Degradation) -> None:
    face = moving_portrait(astronaut(), FRAMES, np.random.default_rng(2))
    histories = placed_boxes(face.boxes_xyxy, how, np.random.default_rng(2))
    first, second = (filmed_crops(face.frames, face.boxes_xyxy, histories, how, VIEW) for _ in range(2))
    assert np.array_equal(first, second)


def test_frames_are_coded_as_one_stream_that_stays_close_to_the_clip() -> None:
    face = moving_portrait(astronaut(), FRAMES, np.random.default_rng(2))
    still = Degradation(noise_seed=1)
    histories = placed_boxes(face.boxes_xyxy, still, np.random.default_rng(2))
    plain = filmed_crops(face.frames, face.boxes_xyxy, histories, still, VIEW)
    coded = filmed_crops(face.frames, face.boxes_xyxy, histories, replace(still, crf=30), VIEW)
    change = np.abs(plain.astype(int) - coded).mean(axis=(1, 2, 3))
    assert change.min() > 0.1
    assert change.max() < 12


@pytest.mark.parametrize("family", ["face_swap", "reconstruct"])
def test_a_forgery_made_frame_by_frame_keeps_its_choices_and_trembles(forger: Forger, family: str) -> None:
    face = moving_portrait(astronaut(), 1, np.random.default_rng(4))
    still = replace(
        face,
        frames=np.repeat(face.frames, FRAMES, axis=0),
        boxes_xyxy=np.repeat(face.boxes_xyxy, FRAMES, axis=0),
        points=np.repeat(face.points, FRAMES, axis=0),
    )
    _, forged = forged_clip(forger, family, astronaut(), still, np.random.default_rng(4))
    change = np.abs(np.diff(forged.astype(int), axis=0)).mean()
    depth = np.abs(forged.astype(int) - still.frames).mean()
    assert 0 < change < 0.6 * depth
