from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.training.speech import spoken
from training.recipes.voice import CROP, VoiceTask, draw_family, new_net, with_gap
from training.vocoders.families import SEEN, UNSEEN
from training.vocoders.pairs import LENGTH, Pairs


def pairs(count: int = 3, seed: int = 0) -> Pairs:
    """Voices, and the same with a rattle at 125 Hz, the frame rate of every vocoder here."""
    rng = np.random.default_rng(seed)
    rattle = 1 + 0.9 * np.sin(2 * np.pi * 125 * np.arange(LENGTH) / 16_000)
    voices = [np.resize(spoken(10, rng.uniform(90, 220), seed=i), LENGTH) for i in range(count)]
    both = np.stack([np.stack([0.3 * voice, 0.3 * voice * rattle]) for voice in voices])
    counts: Pairs = np.rint(both * 32767).astype(np.int16)
    return counts


@pytest.fixture(scope="module")
def task() -> VoiceTask:
    return VoiceTask(new_net(1), dict.fromkeys(SEEN, pairs()), dict.fromkeys((*SEEN, *UNSEEN), pairs(seed=1)), seed=5)


def taken(task: VoiceTask, first: int, steps: int) -> list[Sequence[Tensor]]:
    return list(task.batches(first, steps))


def test_a_run_that_goes_on_sees_the_batches_that_it_would_have_seen(task: VoiceTask) -> None:
    whole, rest = taken(task, 0, 3), taken(task, 2, 3)
    assert len(rest) == 1
    assert torch.equal(whole[2][0], rest[0][0])
    assert not torch.equal(whole[1][0], rest[0][0])


def test_both_of_a_pair_are_cut_at_the_same_moment(task: VoiceTask) -> None:
    sound = taken(task, 0, 1)[0][0]
    assert sound.shape[1:] == (2, CROP)
    alike = [np.corrcoef(np.abs(real), np.abs(copy))[0, 1] for real, copy in sound.numpy().astype(float)]
    assert min(alike) > 0.5


def test_the_network_learns_to_tell_a_rattle(task: VoiceTask) -> None:
    torch.manual_seed(0)  # of dropout and of the gaps, whatever tests ran before
    net = new_net(2).train()
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3)
    losses = []
    for batch in task.batches(0, 10):
        loss = task.loss(net, batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert min(losses[-3:]) < 0.75 * losses[0]


def test_a_look_has_the_mean_of_the_families_of_training_alone(task: VoiceTask) -> None:
    figures = task.validate(new_net(1).eval())
    assert set(figures) == {"auc", *SEEN, *UNSEEN}
    assert figures["auc"] == pytest.approx(np.mean([figures[name] for name in SEEN]))


def test_no_family_of_validation_is_drawn_and_neural_ones_half_of_the_time() -> None:
    drawn = [draw_family(np.random.default_rng(seed)) for seed in range(400)]
    assert set(drawn) == set(SEEN)
    neural = [name in {"transposed", "spectral", "codec"} for name in drawn]
    assert 0.4 < np.mean(neural) < 0.6


def test_a_gap_takes_the_same_neighbouring_bands_from_every_row() -> None:
    torch.manual_seed(1)
    seen = with_gap(torch.ones(2, 1, 224, 5))
    missing = (seen == 0).all(dim=3)[:, 0]
    assert torch.equal(missing[0], missing[1])
    at = missing[0].nonzero().flatten()
    assert 0 < len(at) <= 56
    assert int(at[-1] - at[0]) == len(at) - 1
