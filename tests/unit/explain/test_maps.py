import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.detectors.contract import Detector, Rows, Saliency
from models.explain.maps import explain_clips, rows_near
from models.explain.overlay import blended, png, shown
from models.explain.subject import Moments
from models.types import Clip, ClipScore, View


class Plain:
    """A detector that has no saliency of its own."""

    view = View("face", 32)

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        return np.asarray(batch.mean(axis=(1, 2, 3))[:, None], np.float32)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        return ClipScore(float(features.mean()), times_s=tuple(times_s.tolist()))


class Explaining(Plain):
    """A detector that has one, or turns out not to."""

    def __init__(self, *, has: bool) -> None:
        self._has = has

    def saliency(self, rows: Rows) -> Saliency | None:
        return Saliency("grad_cam", np.stack([np.eye(4, dtype=np.float32)] * len(rows))) if self._has else None


def clip(track: int | None, frames: int = 5, side: int = 32) -> Clip:
    pixels = np.random.default_rng(3).integers(0, 256, (frames, side, side, 3), np.uint8)
    return Clip(pixels, np.arange(float(frames)), track)


def explain(detector: Detector, *wanted: Moments, budget_s: float = 60.0) -> list[tuple[int | None, float, str]]:
    clips = (clip(0), clip(2), clip(None))
    maps = explain_clips(detector, "a", clips=clips, wanted=wanted, rows_per_pass=8, budget_s=budget_s)
    return [(found.track, found.t_s, found.method) for found in maps]


@pytest.mark.parametrize(
    ("detector", "method"),
    [(Plain(), "occlusion"), (Explaining(has=False), "occlusion"), (Explaining(has=True), "grad_cam")],
    ids=["black box", "no map of its own", "a map of its own"],
)
def test_a_detector_without_a_map_of_its_own_is_explained_by_occlusion(detector: Detector, method: str) -> None:
    assert explain(detector, Moments(2, (3.1,))) == [(2, 3.0, method)]


def test_each_subject_is_explained_at_its_own_moments_in_the_order_asked_for() -> None:
    wanted = Moments(2, (4.0, 1.2)), Moments(7, (0.0,)), Moments(None, (2.0,))
    assert [found[:2] for found in explain(Explaining(has=True), *wanted)] == [(2, 4.0), (2, 1.0), (None, 2.0)]


def test_when_the_time_is_used_up_there_is_one_map() -> None:
    assert len(explain(Plain(), Moments(0, (1.0, 2.0)), Moments(2, (1.0,)), budget_s=0.0)) == 1


@pytest.mark.parametrize(
    ("frames", "times_s", "rows"),
    [
        (5, (3.6, 0.2), (4, 0)),
        (5, (1.1, 0.9, 1.0), (1,)),
        (5, (0, 1, 2, 3, 4), (0, 1, 2)),
        (1, (), (0,)),
        (16, (), (4, 8, 11)),
    ],
    ids=["nearest", "each once", "three at most", "a picture", "evenly"],
)
def test_rows_are_those_nearest_to_the_moments(frames: int, times_s: tuple[float, ...], rows: tuple[int, ...]) -> None:
    assert rows_near(clip(0, frames, 16), times_s) == rows


def test_heatmap_and_crop_are_pngs_of_one_size_no_larger_than_256() -> None:
    large = (clip(0, frames=1, side=512),)
    (found,) = explain_clips(Explaining(has=True), "a", clips=large, wanted=[Moments(0)], rows_per_pass=8)
    pictures = [Image.open(io.BytesIO(part)) for part in (found.heatmap, found.crop)]
    assert [(picture.format, picture.size) for picture in pictures] == [("PNG", (256, 256))] * 2


def test_where_nothing_is_salient_the_crop_is_as_it_was() -> None:
    crop = clip(0).data[0].astype(np.uint8)
    assert np.array_equal(blended(crop, np.zeros((8, 8), np.float32)), crop)


def test_the_salient_place_turns_red_and_the_others_stay() -> None:
    crop = np.full((80, 80, 3), 128, np.uint8)
    saliency = np.zeros((8, 8), np.float32)
    saliency[1, 6] = 1
    seen = blended(crop, saliency).astype(int)
    redness = seen[..., 0] - seen[..., 2]
    row, column = divmod(int(redness.argmax()), 80)
    assert (abs(row - 15) < 8, abs(column - 65) < 8) == (True, True)
    assert np.array_equal(seen[40:], crop[40:])


def test_a_small_crop_is_not_enlarged_and_its_png_is_without_loss() -> None:
    crop = clip(0).data[0].astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(shown(crop))))), crop)
