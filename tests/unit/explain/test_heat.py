from typing import Any

import numpy as np
import pytest

from models.detectors.catalogue import Catalogue, VerdictRow, read_catalogue
from models.detectors.contract import Rows, Saliency
from models.detectors.store import ROOT
from models.explain.heat import heat_clips, heated_by, heated_tracks, spread_rows
from models.pipeline import Pipeline
from models.types import Clip
from serve_app.schemas import VerdictBody
from tests.unit.explain.test_evidence import face, report, verdict
from tests.unit.explain.test_maps import Explaining, Plain, clip

CLIP, MODEL = ROOT / "assets/sample_forged.mp4", "mobilenet-sbi-v1"


class Telling(Plain):
    """Its map is as bright as the row."""

    def saliency(self, rows: Rows) -> Saliency:
        return Saliency("grad_cam", np.asarray(rows[:, :2, :3, 0] / 255, np.float32))


def brightening(frames: int) -> Clip:
    pixels = np.repeat(np.arange(frames, dtype=np.uint8), 32 * 32 * 3).reshape(frames, 32, 32, 3)
    return Clip(pixels, np.arange(float(frames)), 3)


def test_each_map_stands_at_its_own_moment_in_order() -> None:
    (heat,) = heat_clips(Telling(), [brightening(5)], [3])
    maps = np.frombuffer(heat.levels, np.uint8).reshape(-1, *heat.size_hw)
    assert (heat.track, heat.margin, heat.times_s, heat.size_hw) == (3, 0.0, (0.0, 1.0, 2.0, 3.0, 4.0), (2, 3))
    assert maps[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("detector", [Plain(), Explaining(has=False)], ids=["black box", "none after all"])
def test_a_detector_without_a_method_of_its_own_gives_none(detector: Any) -> None:
    assert heat_clips(detector, [clip(0)], [0]) == ()


@pytest.mark.parametrize(("rows", "made"), [(1, 1), (5, 5), (16, 16), (150, 16)])
def test_up_to_16_rows_are_spread_from_first_to_last(rows: int, made: int) -> None:
    found = sorted(spread_rows(rows))
    assert (len(found), found[0], found[-1]) == (made, 0, rows - 1)


def test_the_first_rows_already_span_the_clip() -> None:
    assert spread_rows(16)[:4] == (0, 8, 4, 12)


def test_when_the_time_is_used_up_there_is_one_map() -> None:
    (heat,) = heat_clips(Explaining(has=True), [clip(0), clip(2)], [2, 0], budget_s=0.0)
    assert (heat.track, len(heat.times_s)) == (2, 1)


def test_faces_that_the_detector_was_not_given_are_left_out() -> None:
    assert [heat.track for heat in heat_clips(Explaining(has=True), [clip(0), clip(None)], [7, 0])] == [0]


def test_maps_are_made_by_who_decided_and_saw_upright_squares() -> None:
    first = read_catalogue().rows[0]
    views = {"a": {"region": "frame"}, "b": {"align": "five_points"}, "c": {}, "d": {}}
    rows = tuple(
        first.model_copy(update={"id": name, "view": first.view.model_copy(update=view)})
        for name, view in views.items()
    )
    of = verdict(detectors=(*(report(name, "face", 0.9) for name in "abc"), report("d", "face", 0.9, weight=0.0)))
    assert [row.id for row in heated_by(of, Catalogue(rows, VerdictRow()))] == ["c"]


def test_faces_that_speak_for_a_forgery_are_heated_and_the_one_that_decided_first() -> None:
    assert heated_tracks(verdict(face(0, 0.7), face(1, 0.9, decided=True), face(2, 0.1))) == (1, 0)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline()


def test_the_bundled_detector_has_heat_at_every_analysed_moment(pipeline: Pipeline) -> None:
    evidence = pipeline.analyze(CLIP, MODEL, heat=True).evidence
    (heat,) = evidence.heat
    assert (heat.track, heat.margin, len(heat.times_s), heat.size_hw) == (0, 0.3, 16, (10, 10))
    assert evidence.maps == ()


def test_heat_is_not_part_of_what_analyze_answers(pipeline: Pipeline) -> None:
    body = VerdictBody.model_validate(pipeline.analyze(CLIP, MODEL, heat=True))
    assert "heat" not in body.evidence.model_dump()


def test_heat_that_fails_costs_no_verdict(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(pipeline.detector(pipeline.catalogue.row(MODEL)), "saliency", broken)
    found = pipeline.analyze(CLIP, MODEL, heat=True)
    assert (found.verdict, found.evidence.heat) == ("FAKE", ())
