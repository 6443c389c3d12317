from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.detectors.color_cues_lstm import histograms, load
from models.detectors.contract import Recipe as Row
from training.color_clips import HISTORIES, LEVELS
from training.forgeries.families import FAMILIES, TRAINING_ODDS
from training.recipes.color_cues import (
    PEAK,
    RECIPE,
    SIGHT,
    WINDOW,
    ColorTask,
    beside_all,
    for_full_histograms,
    logits_of,
    new_net,
    pair_auc,
)
from training.recipes.color_figures import beside_measures, line, plain_measures
from training.recipes.recipe import write_half

BINS = SIGHT.bins


def colours(count: int, shift: int, rng: np.random.Generator) -> Tensor:
    """Histograms `(count, 2, WINDOW, bins ** 2)` uint8; those of the forgeries lie `shift` bins of green higher."""
    at = rng.integers(8, 12, (count, 1, 1, 1)) * BINS + 10 + np.array([0, shift])[:, None, None]
    bins = at + rng.integers(0, 3, (count, 2, WINDOW, 6))
    found = np.zeros((count, 2, WINDOW, BINS**2), np.uint8)
    np.put_along_axis(found, bins, np.uint8(PEAK), axis=-1)
    return torch.from_numpy(found)


def task(shift: int = 3) -> ColorTask:
    rng = np.random.default_rng(4)
    learnt = colours(10 * HISTORIES, shift, rng).view(10, HISTORIES, 2, WINDOW, -1)
    judged = torch.stack([colours(4 * len(FAMILIES), shift, rng) for _ in LEVELS], dim=1)
    return ColorTask(new_net(1), learnt, judged, seed=1)


def test_forgeries_whose_colours_are_shifted_are_learnt_in_a_few_steps() -> None:
    taught = task()
    optimiser = torch.optim.Adam(taught.net.parameters(), 3e-3)
    for batch in taught.batches(0, 25):
        optimiser.zero_grad()
        taught.loss(taught.net, batch).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert taught.validate(taught.net.eval())["auc"] > 0.9


def test_equal_steps_draw_equal_clips_wherever_a_run_starts() -> None:
    first = [batch[0] for batch in task().batches(0, 3)]
    later = [batch[0] for batch in task().batches(2, 3)]
    assert torch.equal(first[2], later[0])
    assert not torch.equal(first[0], first[1])


def test_each_family_has_its_figure_and_only_those_of_training_decide() -> None:
    figures = task().validate(new_net(1).eval())
    assert list(figures) == ["auc", *FAMILIES]
    assert figures["auc"] == pytest.approx(np.mean([figures[family] for family in TRAINING_ODDS]))


def test_the_file_gives_the_detector_the_logits_that_training_saw(tmp_path: Path) -> None:
    net = new_net(2).eval()
    crops = np.random.default_rng(3).integers(60, 200, (WINDOW, 64, 64, 3)).astype(np.uint8)
    found = histograms(torch.from_numpy(crops), BINS).round().byte()
    seen = logits_of(net, found[None, None].expand(1, 2, -1, -1))[0, 0].item()
    path = write_half(for_full_histograms(net), tmp_path / "net.safetensors")
    row = Row(RECIPE.id, {"weights": path}, SIGHT.view, ("fake",), options={"window": WINDOW})
    detector = load(row)
    assert detector.decide(detector.encode(crops), np.arange(float(WINDOW))).logit == pytest.approx(seen, abs=0.02)


def test_pairs_in_order_have_the_area_of_certainty() -> None:
    assert pair_auc(torch.tensor([[0.0, 2.0], [1.0, 3.0]])) == 1


def test_plain_measures_of_one_colour_are_that_colour_and_stillness() -> None:
    still = np.zeros((1, 2, WINDOW, BINS**2), np.uint8)
    still[..., 12 * BINS + 9] = 255
    measures = plain_measures(still)
    assert measures["mean red"] == pytest.approx(12.5 / BINS)
    assert measures["mean green"] == pytest.approx(9.5 / BINS)
    assert {float(np.ptp(measures[name])) for name in measures} == {0.0}
    assert measures["flicker of red"] == pytest.approx(0, abs=1e-9)


def test_a_network_that_only_repeats_a_plain_measure_is_not_ahead_of_it() -> None:
    found = colours(12, 2, np.random.default_rng(1)).numpy()
    row = beside_measures("clean", "self_blend", plain_measures(found)["mean green"], found)
    assert row.auc.value == pytest.approx(row.measure_auc.value)
    assert row.ahead.low <= 0
    assert "ahead by" in line(row)


def test_every_family_is_set_beside_plain_measures_after_every_history() -> None:
    rng = np.random.default_rng(4)
    judged = torch.stack([colours(2 * len(FAMILIES), 1, rng) for _ in LEVELS], dim=1)
    rows = beside_all(new_net(1).eval(), judged)
    assert [(row.level, row.family) for row in rows] == [(level, family) for level in LEVELS for family in FAMILIES]
    assert {row.pairs for row in rows} == {2}
