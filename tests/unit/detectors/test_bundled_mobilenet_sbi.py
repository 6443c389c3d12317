"""The weights that ship, on forgeries of a person they never saw."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.detectors.contract import Recipe
from models.detectors.mobilenet_sbi import MobileNetSbi, load
from models.types import View
from tests.unit.training.portrait import astronaut
from training.augment import Degradation, degrade, draw_framing
from training.forgeries.self_blend import self_blend

WEIGHTS = Path(__file__).resolve().parents[3] / "models" / "weights" / "mobilenet-sbi-v1.safetensors"
VIEW = View(region="face", size=160, fit="squash", margin=0.3, count=16)
FORGERIES = 24


@pytest.fixture(scope="module")
def detector() -> MobileNetSbi:
    return load(Recipe("mobilenet-sbi", {"weights": WEIGHTS}, VIEW))


def logits_of_pairs(detector: MobileNetSbi, level: Degradation) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """`(FORGERIES, 2)` logits of the real face and its forgery, alike framed and degraded."""
    portrait, crops = astronaut(), []
    for seed in range(FORGERIES):
        rng = np.random.default_rng(seed)
        pair, framing = self_blend(portrait, rng), draw_framing(rng)
        how = replace(level, flip=framing.flip, shift_xy=framing.shift_xy, scale=framing.scale)
        crops += [degrade(rgb, portrait.box_xyxy, how, VIEW.margin, VIEW.size) for rgb in (pair.real, pair.forged)]
    score = detector.decide(detector.encode(np.stack(crops)), np.zeros(len(crops)))
    return np.array(score.per_frame_logits).reshape(FORGERIES, 2)


def test_the_file_stays_small_enough_to_bundle() -> None:
    assert WEIGHTS.stat().st_size < 6 * 1024 * 1024


def test_a_forgery_mostly_scores_above_the_real_face_it_was_made_of(detector: MobileNetSbi) -> None:
    real, forged = logits_of_pairs(detector, Degradation()).T
    assert np.mean(forged > real) > 0.7
    assert forged.mean() > real.mean() + 0.5


def test_softness_alone_is_no_forgery(detector: MobileNetSbi) -> None:
    sharp, soft = (logits_of_pairs(detector, how)[:, 0] for how in (Degradation(), Degradation(face_side=48, blur=0.8)))
    forged = logits_of_pairs(detector, Degradation())[:, 1]
    assert soft.mean() - sharp.mean() < forged.mean() - sharp.mean()
