from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from models.detectors.contract import Rows
from models.explain.occlusion import PASSES, Occlusion
from models.types import Clip, ClipScore, View

Look = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass
class Looking:
    """A detector whose feature is what `look` makes of pictures, `(N, H, W, 3)` to `(N,)`, and whose logit is it."""

    look: Look
    frames_alone: bool = True
    view: View = field(default_factory=lambda: View("face", 32))
    encoded: int = 0

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        self.encoded += len(batch)
        return self.look(batch.astype(np.float32))[:, None].astype(np.float32)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        logits = tuple(features[:, 0].tolist())
        return ClipScore(float(np.mean(logits)), logits if self.frames_alone else (), times_s=tuple(times_s.tolist()))


def lower_left(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The spread of values in one quarter; its colour alone says nothing."""
    return np.asarray(pixels[:, 16:, :16].std(axis=(1, 2, 3)), np.float32)


@pytest.fixture
def clip() -> Clip:
    return Clip(np.random.default_rng(2).integers(0, 256, (3, 32, 32, 3), np.uint8), np.arange(3.0), 0)


@pytest.mark.parametrize("frames_alone", [True, False])
def test_the_map_is_where_the_detector_looks(clip: Clip, frames_alone: bool) -> None:
    saliency = Occlusion(Looking(lower_left, frames_alone), clip).saliency(1)
    assert (saliency.method, saliency.maps.shape) == ("occlusion", (1, 8, 8))
    found = saliency.maps[0]
    assert found.max() == 1
    assert found[5:, :3].min() > 0.4
    assert found[:3].max() == found[:, 5:].max() == 0


def test_what_raises_the_score_when_it_is_hidden_is_not_marked(clip: Clip) -> None:
    assert Occlusion(Looking(lambda pixels: -lower_left(pixels)), clip).saliency(0).maps.max() == 0


def test_a_map_takes_49_passes_and_the_clip_is_encoded_once_for_all_maps(clip: Clip) -> None:
    detector = Looking(lower_left)
    occlusion = Occlusion(detector, clip)
    first, other, again = (occlusion.saliency(row) for row in (0, 1, 0))
    assert detector.encoded == 3 * PASSES + len(clip.data) == 150
    assert np.array_equal(first.maps, again.maps)
    assert not np.array_equal(first.maps, other.maps)


def test_the_clip_is_not_changed(clip: Clip) -> None:
    before = clip.data.copy()
    clip.data.setflags(write=False)
    Occlusion(Looking(lower_left), clip).saliency(2)
    assert np.array_equal(clip.data, before)
