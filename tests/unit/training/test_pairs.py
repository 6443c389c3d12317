from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.types import View
from tests.unit.training.portrait import astronaut
from training import pairs
from training.forgeries.families import FAMILIES, TRAINING_ODDS, UNSEEN_NAME, Forger
from training.forgeries.self_blend import Pair
from training.pairs import ForgedPairs, batches, forged_pair, validation_pairs
from training.portraits import Portrait

VIEW = View(region="face", size=48, fit="squash", margin=0.3, count=16)
SOURCE = astronaut()
PEOPLE = [replace(SOURCE, name=str(number), rgb=np.roll(SOURCE.rgb, number, axis=2)) for number in range(3)]
NO_NETS = Path("no folder: these tests forge without networks")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The families asked for; each forgery is the negative of its picture, so that nets are not needed."""
    asked: list[str] = []

    def negative(_forger: Forger, family: str, portrait: Portrait, _rng: np.random.Generator) -> Pair:
        asked.append(family)
        mask = np.ones(portrait.rgb.shape[:2], np.float32)
        return Pair(portrait.rgb, 255 - portrait.rgb, mask)

    monkeypatch.setattr(Forger, "forge", negative)
    return asked


def item(of: ForgedPairs, index: int) -> NDArray[np.uint8]:
    pair: NDArray[np.uint8] = of[index][0].numpy()
    return pair


@pytest.mark.usefixtures("drawn")
def test_a_pair_depends_on_seed_and_index_alone() -> None:
    one, same, other_seed = (ForgedPairs(PEOPLE, NO_NETS, VIEW, seed) for seed in (1, 1, 2))
    assert item(one, 5).shape == (2, 48, 48, 3)
    first = item(one, 5)
    item(one, 6)  # what was made in between does not matter
    assert np.array_equal(first, item(one, 5))
    assert np.array_equal(first, item(same, 5))
    assert not np.array_equal(first, item(one, 6))
    assert not np.array_equal(first, item(other_seed, 5))


def test_training_pairs_are_never_of_the_held_out_family(drawn: list[str]) -> None:
    training = ForgedPairs(PEOPLE, NO_NETS, VIEW, 1)
    for index in range(80):
        item(training, index)
    assert set(drawn) == set(TRAINING_ODDS)


def test_both_of_a_pair_go_through_the_same_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where forging changes nothing, the two crops are equal to the last bit: noise, codec and framing included."""

    def nothing(_forger: Forger, _family: str, portrait: Portrait, _rng: np.random.Generator) -> Pair:
        return Pair(portrait.rgb, portrait.rgb.copy(), np.zeros(portrait.rgb.shape[:2], np.float32))

    monkeypatch.setattr(Forger, "forge", nothing)
    forger = Forger(PEOPLE, NO_NETS)
    for seed in range(12):
        real, forged = forged_pair(forger, "self_blend", SOURCE, VIEW, np.random.default_rng(seed))
        assert np.array_equal(real, forged)


@pytest.mark.usefixtures("drawn")
def test_the_real_crop_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "degrade", lambda rgb, *_: rgb[:4, :4])
    real, forged = forged_pair(Forger(PEOPLE, NO_NETS), "self_blend", SOURCE, VIEW, np.random.default_rng(1))
    assert np.array_equal(real, SOURCE.rgb[:4, :4])
    assert np.array_equal(forged, 255 - real)


def test_large_faces_are_drawn_oftener_than_small_ones_within_bounds() -> None:
    sides = (40.0, 80.0, 80.0, 160.0, 1000.0)
    faces = [replace(SOURCE, box_xyxy=np.array([0, 0, side, side], np.float32)) for side in sides]
    odds = ForgedPairs(faces, NO_NETS, VIEW, 1).odds
    assert odds / odds[1] == pytest.approx([1, 1, 1, 2, 3])


def test_validation_has_one_pair_of_every_portrait_and_family_the_same_each_time(drawn: list[str]) -> None:
    one, same = (validation_pairs(PEOPLE, NO_NETS, VIEW) for _ in range(2))
    assert list(one) == list(FAMILIES)
    assert UNSEEN_NAME in one
    assert all(pairs.shape == (len(PEOPLE), 2, 48, 48, 3) for pairs in one.values())
    assert all(np.array_equal(one[family], same[family]) for family in FAMILIES)
    assert len(drawn) == 2 * len(FAMILIES) * len(PEOPLE)


@pytest.mark.usefixtures("drawn")
def test_batches_from_a_later_step_are_those_of_a_run_that_was_not_stopped() -> None:
    training = ForgedPairs(PEOPLE, NO_NETS, VIEW, 1)
    whole = [batch[0] for batch in batches(training, 2, 0, 4, workers=0)]
    resumed = [batch[0] for batch in batches(training, 2, 3, 4, workers=0)]
    assert [len(whole), len(resumed)] == [4, 1]
    assert whole[0].shape == (2, 2, 48, 48, 3)
    assert torch.equal(resumed[0], whole[3])


@pytest.mark.usefixtures("drawn")
def test_batches_of_worker_processes_are_those_of_this_one() -> None:
    training = ForgedPairs(PEOPLE, NO_NETS, VIEW, 1)
    here = [batch[0] for batch in batches(training, 2, 0, 3, workers=0)]
    there = [batch[0] for batch in batches(training, 2, 0, 3, workers=2)]
    assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))
