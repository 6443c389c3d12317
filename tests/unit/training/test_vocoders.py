"""Vocoders, untrained or barely trained: what holds of their copies whatever their weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.training.speech import spoken
from training.vocoders.families import SEEN, UNSEEN, neural_copy, voice_families
from training.vocoders.judges import Judges, fooling_loss, judging_loss
from training.vocoders.net import ARCHITECTURES, FRAME, HELD_OUT, Architecture, coarse, new_net
from training.vocoders.spectra import stft_loss
from training.vocoders.train import SEGMENT, advance, draw_batch, new_run, weights_path, write_weights

VOICE = spoken(4)
BATCH = torch.from_numpy(VOICE[: 32 * FRAME])[None]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_vocoder_gives_as_many_samples_as_it_gets(architecture: Architecture) -> None:
    assert new_net(architecture, 1)(BATCH).shape == BATCH.shape


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equal_seeds_give_equal_vocoders_and_others_do_not(architecture: Architecture) -> None:
    one, same, other = (new_net(architecture, seed)(BATCH) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_copy_has_the_length_and_the_level_of_the_voice_though_it_fills_no_whole_frames() -> None:
    voice = VOICE[:5001]
    copy = neural_copy(voice, new_net("spectral", 1).eval())
    assert copy.shape == voice.shape
    assert copy.std() == pytest.approx(voice.std(), rel=0.01)


def test_a_few_steps_bring_a_vocoder_nearer_to_the_voice() -> None:
    run = new_run("filtered", 1)
    losses = [advance(run, BATCH, 0.0) for _ in range(6)]
    assert losses[-1] < 0.8 * losses[0]


def test_in_the_second_half_the_judges_learn_too() -> None:
    run = new_run("spectral", 1)
    before = [p.clone() for p in run.judges.parameters()]
    advance(run, BATCH, 0.25)
    assert all(map(torch.equal, before, run.judges.parameters()))
    advance(run, BATCH, 0.75)
    assert not any(map(torch.equal, before, run.judges.parameters()))


def test_a_restored_run_goes_on_as_if_it_had_not_stopped() -> None:
    run, again = new_run("filtered", 1), new_run("filtered", 2)
    advance(run, BATCH, 0.6)
    again.restore(run.state())
    assert advance(again, BATCH, 0.7) == advance(run, BATCH, 0.7)


def test_equal_steps_draw_equal_segments() -> None:
    sounds = [VOICE, VOICE[:100]]
    one, same, other = (draw_batch(sounds, 1, step) for step in (3, 3, 4))
    assert one.shape[1] == SEGMENT
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_sound_has_no_distance_from_itself_and_more_from_noise() -> None:
    noise = torch.randn_like(BATCH) * BATCH.std()
    assert float(stft_loss(BATCH, BATCH)) == 0
    assert float(stft_loss(noise, BATCH)) > 1


def test_judges_that_cannot_tell_are_fooled_alike_by_both() -> None:
    judges = Judges()
    with torch.no_grad():
        seen = judges(BATCH)
    opinions, features = fooling_loss(seen, seen)
    assert float(features) == 0
    assert float(judging_loss(seen, seen)) > float(opinions) * 0.5


def test_a_coarse_number_takes_few_values_and_lets_gradients_through() -> None:
    x = torch.linspace(-1, 1, 101, requires_grad=True)
    values = coarse(x)
    values.sum().backward()  # type: ignore[no-untyped-call]
    assert len(set(values.tolist())) == 9
    assert x.grad is not None
    assert torch.equal(x.grad, torch.ones_like(x))


def test_every_family_copies_and_those_of_validation_are_not_trained_on(tmp_path: Path) -> None:
    for age in ("early", "late"):
        write_weights(new_net("spectral", 1), weights_path(tmp_path, "spectral", 1, age))
    families = voice_families(tmp_path)
    assert set(families) == {*SEEN, *UNSEEN}
    assert HELD_OUT in UNSEEN
    for name in ("phase", "spectral"):
        copy = families[name](VOICE, np.random.default_rng(1))
        assert copy.shape == VOICE.shape
        assert not np.array_equal(copy, VOICE)
