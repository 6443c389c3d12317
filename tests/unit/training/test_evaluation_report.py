import re
from dataclasses import replace

import pytest

from models.detectors.catalogue import VerdictRow
from tests.unit.training.recorded import recorded
from training.evaluation.errors import EvaluationError
from training.evaluation.provenance import Provenance, RowFacts
from training.evaluation.records import Record
from training.evaluation.report import html
from training.evaluation.summary import Summary, summarise
from training.evaluation.words import figure, notes, worst

BOUNDS = VerdictRow(real_below=0.4, fake_above=0.6)
ROW = RowFacts("mobilenet-sbi-v1", "1", 1.2, -0.7, 1.0, {"weights": "ab" * 32})
FACTS = Provenance(
    "ensemble", "data/m.csv", "cd" * 32, "val", "unmask evaluate <m>", "2026-11-21", {"numpy": "2"}, [ROW]
)


@pytest.fixture(scope="module")
def fair() -> Summary:
    return summarise(recorded(60), BOUNDS)


def test_a_detector_that_tells_them_apart_beats_measures_that_do_not(fair: Summary) -> None:
    assert all(baseline.beaten for baseline in fair.baselines)
    assert "beats every trivial measure clearly" in notes(fair)[0]


def test_a_planted_shortcut_is_found_and_said_in_words() -> None:
    summary = summarise(recorded(20, shortcut=True), BOUNDS)
    closest = summary.baselines[0]
    assert (closest.name, closest.auc.value, closest.beaten) == ("file size", 1.0, False)
    assert "does NOT clearly beat" in notes(summary)[0]
    assert "file size (1.000)" in notes(summary)[0]


def test_a_measure_that_only_one_class_has_is_a_shortcut_too() -> None:
    records = [
        replace(r, measures=replace(r.measures, loudness_db=-20.0)) if r.fake and r.measures else r
        for r in recorded(20)
    ]
    assert summarise(records, BOUNDS).baselines[0].name == "loudness"


def test_failed_and_unscored_items_are_counted_not_dropped() -> None:
    records = recorded(20)
    failed = replace(records[0], error="too_long", p_fake=None, detectors=(), measures=None)
    faceless = replace(records[1], p_fake=None, verdict="UNDETERMINED", reason="no face")
    summary = summarise([failed, faceless, *records[2:]], BOUNDS)
    assert summary.counts.items == 40
    assert summary.counts.failed == {"too_long": 1}
    assert summary.counts.unscored == {"no face": 1}
    said = " ".join(notes(summary))
    assert "1 item could not be analysed: 1 too_long" in said
    assert "1 item got no score (1 no face)" in said


def test_shares_of_verdicts_add_up_over_all_that_were_analysed(fair: Summary) -> None:
    fakes = sum(fair.figures[name].value for name in ("miss", "detected", "abstained_fake"))
    assert fakes == pytest.approx(1)
    assert fair.figures["false_alarm"].value + fair.figures["abstained_real"].value < 1


def test_each_manipulation_is_measured_against_all_reals(fair: Summary) -> None:
    swap = next(part for part in fair.parts if part.what == "manipulation")
    assert (swap.name, swap.against, swap.real, swap.fake) == ("swap", "all reals", 60, 60)
    assert swap.auc.value == pytest.approx(fair.figures["auc"].value)


def test_a_manipulation_is_not_measured_against_reals_of_other_media() -> None:
    sound = [replace(r, name=f"s{r.name}", group=f"s{r.group}", kind="audio", manipulation="") for r in recorded(10)]
    swap = next(p for p in summarise(recorded(10) + sound, BOUNDS).parts if p.name == "swap")
    assert (swap.real, swap.fake) == (10, 10)


@pytest.mark.parametrize(("better", "said"), [(0.0, "not worse than"), (2.0, "WORSE than")])
def test_an_ensemble_is_compared_with_its_best_member_on_the_same_items(better: float, said: str) -> None:
    def of_two(record: Record) -> Record:
        own = record.detectors[0]
        p_fake = min(max((own.p_fake or 0) + better * (record.fake - 0.5) / 4, 0), 1)
        return replace(record, detectors=(own, replace(own, id="other", p_fake=p_fake)))

    summary = summarise([of_two(record) for record in recorded(30)], BOUNDS)
    line = next(note for note in notes(summary) if "its best member" in note)
    assert said in line
    assert "on the 60 items" in line
    assert figure(max(summary.detectors, key=lambda d: d.auc.value).lead) in line


def test_a_member_that_answers_alone_is_not_the_one_to_beat() -> None:
    voices = [
        replace(r, name=f"s{r.name}", group=f"s{r.group}", detectors=(replace(r.detectors[0], id="voice"),))
        for r in recorded(30)
    ]
    faces = [
        replace(r, detectors=(r.detectors[0], replace(r.detectors[0], id="other", p_fake=0.5))) for r in recorded(30)
    ]
    line = next(note for note in notes(summarise(faces + voices, BOUNDS)) if "its best member" in note)
    assert "voice" not in line


def test_a_detector_alone_is_compared_with_no_member(fair: Summary) -> None:
    assert not any("member" in line for line in notes(fair))


def test_strength_0_is_of_the_items_that_were_degraded() -> None:
    records = recorded(10)
    worse = [replace(record, variant="noise 1") for record in records[:8]]
    point = next(p for p in summarise(records + worse, BOUNDS).robustness if (p.name, p.strength) == ("noise", 0))
    assert point.real + point.fake == 8


def test_few_groups_are_said_to_give_wide_intervals() -> None:
    assert any("only 20 groups: the intervals are wide" in line for line in notes(summarise(recorded(10), BOUNDS)))


def test_no_word_on_groups_where_there_are_many(fair: Summary) -> None:
    assert not any("groups" in line for line in notes(fair))


def test_scores_of_one_class_only_are_a_clear_error() -> None:
    records = [replace(record, p_fake=None, reason="no face") if record.fake else record for record in recorded(5)]
    with pytest.raises(EvaluationError, match=r"5 reals and 0 fakes got a score.*5 no face"):
        summarise(records, BOUNDS)


def test_strengths_have_their_own_figures_beside_the_items_as_they_are() -> None:
    records = recorded(10)
    worse = [replace(record, variant="compression 3", p_fake=0.9, verdict="FAKE") for record in records]
    points = {(p.name, p.strength): p for p in summarise(records + worse, BOUNDS).robustness}
    assert points["compression", 0].auc.value > 0.7
    assert points["compression", 3].auc.value == 0.5
    assert points["compression", 3].false_alarm.value == 1
    assert points["compression", 4].real == 0


def test_the_page_has_the_figures_and_needs_nothing_else(fair: Summary) -> None:
    page = html(fair, recorded(60), FACTS)
    for text in (figure(fair.figures["auc"]), "ab" * 32, "unmask evaluate &lt;m&gt;", "2026-11-21", "file size"):
        assert text in page
    assert page.count("data:image/svg+xml;base64,") == 3
    assert not re.search(r"<script|<link|https?://|(src|href)=\"(?!data:)", page)


def test_the_page_of_a_robustness_run_has_its_curves() -> None:
    records = recorded(10)
    worse = [replace(record, variant=f"noise {strength}") for record in records for strength in range(1, 6)]
    page = html(summarise(records + worse, BOUNDS), records + worse, FACTS)
    assert "video: noise" in page
    assert "standard deviation, grey levels" in page


def test_names_of_files_are_escaped_in_the_page() -> None:
    records = recorded(10, skill=-2)
    named = [replace(record, name=f"<b>{record.name}") for record in records]
    page = html(summarise(named, BOUNDS), named, FACTS)
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_the_worst_mistakes_come_first() -> None:
    high, low = worst(recorded(30, skill=0.5))
    assert [r.p_fake for r in high] == sorted((r.p_fake or 0 for r in high), reverse=True)
    assert all(not r.fake and (r.p_fake or 0) > 0.5 for r in high)
    assert all(r.fake and (r.p_fake or 1) < 0.5 for r in low)
