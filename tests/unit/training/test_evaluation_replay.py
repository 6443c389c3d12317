from dataclasses import replace

import pytest

from models.detectors.catalogue import (
    ENSEMBLE,
    CalibrationRow,
    CascadeRow,
    Catalogue,
    VerdictRow,
    read_catalogue,
)
from tests.unit.training.recorded import recorded
from training.evaluation.errors import EvaluationError
from training.evaluation.records import DetectorScore, Record
from training.evaluation.replay import replayed

LOOKS, OTHER, LISTENS = "mobilenet-sbi-v1", "mesonet-meso4-df", "aasist-l"
BASES = {LOOKS: "l", OTHER: "o", LISTENS: "a"}
BOUNDS = VerdictRow(real_below=0.4, fake_above=0.6)


def catalogue(*ids: str, scale: float = 1.0, weight: float = 1.0) -> Catalogue:
    """Rows without bias; the first one has that weight, all have that scale."""
    found = read_catalogue(served=ids)
    rows = [
        row.model_copy(update={"calibration": CalibrationRow(scale=scale, bias=0.0), "weight": 1.0})
        for row in sorted(found.rows, key=lambda row: ids.index(row.id))
    ]
    rows[0] = rows[0].model_copy(update={"weight": weight})
    return replace(found, rows=tuple(rows), verdict=BOUNDS)


def record(**logits: float | None) -> Record:
    """One clip; underscores of the ids are hyphens."""
    scores = [(name.replace("_", "-"), logit) for name, logit in logits.items()]
    detectors = tuple(
        DetectorScore(name, "ok" if logit is not None else "not_applicable", 0.5, logit, BASES[name])
        for name, logit in scores
    )
    return replace(recorded(1)[0], detectors=detectors, frame_p_fake=(0.5, 0.6), frames=2)


def one(found: Record, served: Catalogue, model: str = ENSEMBLE) -> Record:
    return replayed([found], served, BASES, model)[0]


def test_a_clip_is_calibrated_and_judged_as_the_catalogue_says_now() -> None:
    found = one(record(mobilenet_sbi_v1=1.0), catalogue(LOOKS, scale=2.0))
    assert found.p_fake == pytest.approx(0.8808, abs=1e-4)
    assert found.detectors[0].p_fake == found.p_fake
    assert found.verdict == "FAKE"


def test_what_looks_is_averaged_by_weight() -> None:
    served = catalogue(LOOKS, OTHER, weight=3.0)
    found = one(record(mobilenet_sbi_v1=2.0, mesonet_meso4_df=-2.0), served)
    assert found.p_fake == pytest.approx(1 / (1 + 2.718281828**-1.0), abs=1e-6)


def test_what_listens_is_a_subject_of_its_own_and_the_more_fake_one_counts() -> None:
    found = one(record(mobilenet_sbi_v1=-2.0, aasist_l=3.0), catalogue(LOOKS, LISTENS))
    assert found.p_fake == pytest.approx(0.9526, abs=1e-4)


def test_what_is_not_fused_decides_only_by_its_own_name() -> None:
    served = catalogue(LOOKS, LISTENS)
    shy = replace(served, rows=(served.rows[0], served.rows[1].model_copy(update={"fused": False})))
    found = one(record(mobilenet_sbi_v1=-2.0, aasist_l=3.0), shy)
    assert [score.weight for score in found.detectors] == [1.0, 0.0]
    assert found.verdict == "REAL"
    alone = one(record(mobilenet_sbi_v1=-2.0, aasist_l=3.0), replace(shy, rows=shy.rows[1:]), LISTENS)
    assert alone.verdict == "FAKE"


def test_one_detector_is_taken_out_of_a_run_of_several() -> None:
    found = one(record(mobilenet_sbi_v1=-2.0, aasist_l=3.0), catalogue(LOOKS))
    assert [score.id for score in found.detectors] == [LOOKS]
    assert found.verdict == "REAL"


def test_a_clip_that_no_chosen_detector_scored_is_undetermined_with_the_reason() -> None:
    found = one(record(mobilenet_sbi_v1=None, aasist_l=3.0), catalogue(LOOKS))
    assert (found.p_fake, found.verdict, found.reason) == (None, "UNDETERMINED", "not_applicable")


def test_scores_of_frames_stay_with_the_one_detector_that_made_them() -> None:
    assert one(record(mobilenet_sbi_v1=1.0), catalogue(LOOKS)).frames == 2
    assert one(record(mobilenet_sbi_v1=1.0, aasist_l=1.0), catalogue(LOOKS)).frames == 0


def test_logits_of_other_weights_or_code_are_refused() -> None:
    with pytest.raises(EvaluationError, match=f"{LOOKS} has changed since"):
        replayed([record(mobilenet_sbi_v1=1.0)], catalogue(LOOKS), {**BASES, LOOKS: "new"}, LOOKS)


def test_a_detector_that_took_no_part_is_refused() -> None:
    with pytest.raises(EvaluationError, match=f"{OTHER} has no results there"):
        replayed([record(mobilenet_sbi_v1=1.0)], catalogue(OTHER), BASES, OTHER)


def test_a_failed_item_stays_failed() -> None:
    failed = replace(record(), error="too_long")
    assert replayed([record(mobilenet_sbi_v1=1.0), failed], catalogue(LOOKS), BASES, LOOKS)[1] == failed


def test_a_cascade_is_replayed_without_those_it_would_not_have_asked() -> None:
    cheap = catalogue(LOOKS, OTHER)
    served = replace(cheap, cascade=CascadeRow(real_below=0.1, fake_above=0.9))
    sure, unsure = (
        one(record(mobilenet_sbi_v1=logit, mesonet_meso4_df=-1.0), served, "cascade") for logit in (3.0, 1.0)
    )
    assert sure.p_fake == pytest.approx(0.9526, abs=1e-4)
    assert unsure.p_fake == pytest.approx(0.5)


def test_whole_frames_are_not_averaged_with_faces() -> None:
    served = catalogue(LOOKS, OTHER)
    framed = served.rows[1].model_copy(update={"view": served.rows[1].view.model_copy(update={"region": "frame"})})
    found = one(record(mobilenet_sbi_v1=-2.0, mesonet_meso4_df=3.0), replace(served, rows=(served.rows[0], framed)))
    assert found.p_fake == pytest.approx(0.9526, abs=1e-4)


def test_detectors_that_are_sure_of_opposite_things_are_undetermined() -> None:
    found = one(record(mobilenet_sbi_v1=5.0, mesonet_meso4_df=-3.0), catalogue(LOOKS, OTHER))
    assert found.p_fake == pytest.approx(0.7311, abs=1e-4)
    assert found.verdict == "UNDETERMINED"
