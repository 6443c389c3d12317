from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.portrait import astronaut
from training.forgeries.families import FAMILIES, SEEN, TRAINING_ODDS, UNSEEN_NAME, Forger, draw_family
from training.forgeries.reconstruct import weights_path
from training.forgeries.reconstruct_net import ARCHITECTURES, HELD_OUT, new_net
from training.forgeries.reconstruct_train import write_weights
from training.portraits import Portrait

SOURCE = astronaut()
PEOPLE = [SOURCE, replace(SOURCE, name="mirrored", rgb=np.ascontiguousarray(SOURCE.rgb[..., ::-1]))]


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of each architecture, untrained: what it draws is no face, but it is not the picture either."""
    folder = tmp_path_factory.mktemp("nets")
    for architecture in ARCHITECTURES:
        write_weights(new_net(architecture, 1), weights_path(folder, architecture, 1))
    return folder


def test_what_is_held_out_is_never_drawn_in_training() -> None:
    rng = np.random.default_rng(1)
    drawn = Counter(draw_family(rng) for _ in range(2000))
    assert set(drawn) == set(TRAINING_ODDS)
    assert UNSEEN_NAME not in drawn
    for family, odds in TRAINING_ODDS.items():
        assert drawn[family] / 2000 == pytest.approx(odds, abs=0.04)


def test_training_and_validation_together_are_all_families() -> None:
    assert {*TRAINING_ODDS, UNSEEN_NAME} == set(FAMILIES)
    assert HELD_OUT not in SEEN


def test_reconstructions_of_training_need_no_network_that_is_held_out(nets: Path, tmp_path: Path) -> None:
    for architecture in SEEN:
        path = weights_path(nets, architecture, 1)
        (tmp_path / path.name).write_bytes(path.read_bytes())
    forger = Forger(PEOPLE, tmp_path)
    forger.forge("reconstruct", SOURCE, np.random.default_rng(1))
    with pytest.raises(FileNotFoundError, match=HELD_OUT):
        forger.forge(UNSEEN_NAME, SOURCE, np.random.default_rng(1))


def test_the_held_out_family_uses_none_of_the_networks_of_training(nets: Path, tmp_path: Path) -> None:
    path = weights_path(nets, HELD_OUT, 1)
    (tmp_path / path.name).write_bytes(path.read_bytes())
    Forger(PEOPLE, tmp_path).forge(UNSEEN_NAME, SOURCE, np.random.default_rng(1))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_forgery_differs_from_its_picture_where_the_mask_shows_and_nowhere_else(family: str, nets: Path) -> None:
    pair = Forger(PEOPLE, nets).forge(family, SOURCE, np.random.default_rng(2))
    differs = np.abs(pair.real.astype(int) - pair.forged).max(axis=2)
    assert differs[pair.mask > 0.5].mean() > 0.5
    assert not differs[pair.mask == 0].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_generators_forge_equally(family: str, nets: Path) -> None:
    one, same = (Forger(PEOPLE, nets).forge(family, SOURCE, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one.forged, same.forged)
    assert np.array_equal(one.real, same.real)


def test_a_swap_takes_the_face_of_somebody_else(nets: Path) -> None:
    strange = replace(SOURCE, name="stranger", rgb=np.full_like(SOURCE.rgb, 128))
    one, other = (
        Forger([SOURCE, face], nets).forge("face_swap", SOURCE, np.random.default_rng(4)).forged
        for face in (strange, PEOPLE[1])
    )
    assert not np.array_equal(one, other)


def test_portraits_are_not_changed_by_forging(nets: Path) -> None:
    before: list[Portrait] = [replace(face, rgb=face.rgb.copy()) for face in PEOPLE]
    forger = Forger(PEOPLE, nets)
    for family in FAMILIES:
        forger.forge(family, SOURCE, np.random.default_rng(5))
    assert all(np.array_equal(face.rgb, kept.rgb) for face, kept in zip(PEOPLE, before, strict=True))
