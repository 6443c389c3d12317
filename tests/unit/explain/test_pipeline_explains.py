from pathlib import Path
from typing import Any

import pytest

from models.detectors.store import ROOT
from models.pipeline import Pipeline
from models.types import Unexplained

CLIP: Path = ROOT / "assets/sample_forged.mp4"
MODEL = "mobilenet-sbi-v1"


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline()


def test_maps_are_at_the_frames_that_weighed_most(pipeline: Pipeline) -> None:
    evidence = pipeline.analyze(CLIP, MODEL, explain=True).evidence
    assert [found.t_s for found in evidence.maps] == [point.t_s for point in evidence.frames]
    assert {(found.track, found.detector) for found in evidence.maps} == {(0, MODEL)}


def test_a_map_that_fails_is_named_and_costs_no_verdict(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> Any:
        raise MemoryError

    plain = pipeline.analyze(CLIP, MODEL)
    detector = pipeline.detector(pipeline.catalogue.row(MODEL))
    monkeypatch.setattr(detector, "saliency", broken)
    explained = pipeline.analyze(CLIP, MODEL, explain=True)
    assert explained.p_fake == plain.p_fake
    assert explained.evidence.unexplained == (Unexplained(MODEL, "MemoryError"),)
    assert explained.evidence.maps == ()
    assert plain.evidence.unexplained == ()


def test_a_verdict_without_maps_is_small(pipeline: Pipeline) -> None:
    verdict = pipeline.analyze(CLIP, MODEL)
    assert len(verdict.faces[0].thumbnail) < 6_000
    assert verdict.evidence.maps == ()
    assert verdict.evidence.sentence
