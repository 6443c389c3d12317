from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from models.types import View
from tests.unit.training.portrait import astronaut
from training.augment import Degradation
from training.color_clips import HISTORIES, LARGEST_FACE, LEVELS, ColorClips, Sight, counted, lit, shrunk
from training.forgeries.families import FAMILIES
from training.forgeries.reconstruct import weights_path
from training.forgeries.reconstruct_net import ARCHITECTURES, new_net
from training.forgeries.temporal import moving_portrait

SIGHT = Sight(View(region="face", size=32, margin=0.1, count=3, minimum=3), bins=16, frames=3)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks that have learnt nothing."""
    folder = tmp_path_factory.mktemp("nets")
    for architecture in ARCHITECTURES:
        save_file(new_net(architecture, 1).state_dict(), weights_path(folder, architecture, 1))
    return folder


@pytest.fixture(scope="module")
def clips(nets: Path) -> ColorClips:
    """Of two people, the second the first one's negative."""
    people = [astronaut(), replace(astronaut(), name="another", rgb=255 - astronaut().rgb)]
    return ColorClips(people, nets, SIGHT, seed=3)


def test_what_is_learnt_from_has_the_announced_shape_and_differs_from_history_to_history(clips: ColorClips) -> None:
    row = clips.learnt(0)
    assert row.shape == clips.shape(HISTORIES) == (HISTORIES, 2, 3, 256)
    assert row.dtype == np.uint8
    assert not np.array_equal(row[0], row[1])


def test_equal_indices_make_equal_rows_and_others_do_not(clips: ColorClips) -> None:
    assert np.array_equal(clips.learnt(1), clips.learnt(1))
    assert not np.array_equal(clips.learnt(1), clips.learnt(2))


def test_a_portrait_is_judged_by_every_family_in_a_row_after_every_history(clips: ColorClips) -> None:
    rows = np.stack([clips.judged(i) for i in range(len(FAMILIES))])
    assert rows.shape == (len(FAMILIES), *clips.shape(len(LEVELS)))
    assert (np.abs(rows[:, :, 0].astype(int) - rows[:, :, 1]).sum(axis=(1, 2, 3)) > 0).all()


def test_what_is_judged_by_does_not_depend_on_the_seed(clips: ColorClips, nets: Path) -> None:
    other = ColorClips([astronaut()], nets, SIGHT, seed=4)
    assert np.array_equal(other.judged(0), clips.judged(0))


def test_equal_clips_keep_equal_colours_under_a_light_that_wanders() -> None:
    face = moving_portrait(shrunk(astronaut()), 3, np.random.default_rng(1))
    for seed in range(4):
        real, same = counted((face, face), None, SIGHT, np.random.default_rng(seed))
        assert np.array_equal(real, same)


def test_the_light_changes_colours_only_and_wanders_around_the_clips_own() -> None:
    how = Degradation(gamma=1.1, contrast=0.9, brightness=5, gains=(1.05, 1, 0.95), blur=1, noise_seed=2)
    histories = lit([how] * 200, np.random.default_rng(5))
    assert len({h.gains for h in histories}) == 200
    assert {replace(h, gamma=1.1, contrast=0.9, brightness=5, gains=(1.05, 1, 0.95)) for h in histories} == {how}
    assert np.mean([h.gains[0] for h in histories]) == pytest.approx(1.05, abs=0.02)


def test_a_large_face_is_shrunk_with_its_box_and_points() -> None:
    small, large = shrunk(astronaut()), astronaut()
    scale = LARGEST_FACE / float(np.max(large.box_xyxy[2:] - large.box_xyxy[:2]))
    assert small.rgb.shape[0] == pytest.approx(large.rgb.shape[0] * scale, abs=1)
    assert np.allclose(small.points, large.points * scale, atol=0.01)
    assert float(np.max(small.box_xyxy[2:] - small.box_xyxy[:2])) == pytest.approx(LARGEST_FACE, abs=0.01)


def test_a_face_that_is_small_already_stays_as_it_is() -> None:
    small = shrunk(astronaut())
    assert np.array_equal(shrunk(small).rgb, small.rgb)
