"""Who is asked, in which order, and when it is enough."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from models.course import Course, course_of
from models.detectors.catalogue import (
    CalibrationRow,
    CascadeRow,
    Catalogue,
    ModelRow,
    VerdictRow,
    mode_of,
    read_catalogue,
)
from models.errors import UnknownModel, WrongSelection
from models.extraction import Extraction
from models.outcomes import Outcome
from models.types import ClipScore, MediaFacts, Region, Timings, Track

BOX = np.tile(np.array([0, 0, 90, 90], np.float32), (2, 1))
FACES = Extraction(
    MediaFacts("video", "00", 1, frames_analysed=16, audio_s=3.0),
    (Track(0, np.array([0.0, 1.0]), BOX), Track(1, np.array([0.0, 1.0]), BOX)),
    Timings(),
)


def row(model: str, cost: float, region: Region = "face", *, fused: bool = True) -> ModelRow:
    first = read_catalogue().rows[0]
    view = first.view.model_copy(update={"region": region})
    calibration = CalibrationRow(scale=1.0, bias=0.0)
    changes = {"id": model, "cost": cost, "view": view, "fused": fused, "calibration": calibration, "weight": 1.0}
    return first.model_copy(update=changes)


def course(rows: Sequence[ModelRow], model: str = "cascade", absent: Sequence[Outcome] = ()) -> Course:
    bounds = CascadeRow(real_below=0.1, fake_above=0.9)
    return course_of(Catalogue(tuple(rows), VerdictRow(), cascade=bounds), model, absent)


def ok(of: ModelRow, logit: float, other_face: float | None = None) -> Outcome:
    face = 0 if of.view.region == "face" else None
    scores = [ClipScore(logit, track=face)]
    scores += [] if other_face is None else [ClipScore(other_face, track=1)]
    return Outcome(of, "ok", tuple(scores))


def followed(way: Course, answers: Mapping[str, Outcome]) -> tuple[list[list[str]], dict[str, str]]:
    """Who was asked, round by round, and what became of each."""
    rounds, outcomes = [], list[Outcome]()
    while asked := way.following(outcomes, FACES):
        rounds.append([row.id for row in asked])
        outcomes += [answers[row.id] for row in asked]
    return rounds, {outcome.row.id: outcome.status for outcome in way.closed(outcomes, FACES)}


DEAR, CHEAP, MIDDLE = row("dear", 9.0), row("cheap", 0.1), row("middle", 1.0)


def test_an_ensemble_asks_all_at_once() -> None:
    rounds, _ = followed(course([DEAR, CHEAP], "ensemble"), {"dear": ok(DEAR, 5.0), "cheap": ok(CHEAP, 5.0)})
    assert rounds == [["dear", "cheap"]]


@pytest.mark.parametrize(("logit", "rounds"), [(5.0, 1), (-5.0, 1), (0.5, 3)])
def test_a_cascade_asks_the_cheapest_first_and_the_next_only_while_it_is_unsure(logit: float, rounds: int) -> None:
    answers = {"dear": ok(DEAR, 0.0), "cheap": ok(CHEAP, logit), "middle": ok(MIDDLE, 0.0)}
    asked, states = followed(course([DEAR, CHEAP, MIDDLE]), answers)
    assert asked == [["cheap"], ["middle"], ["dear"]][:rounds]
    assert list(states.values()).count("not_needed") == 3 - rounds


def test_the_answer_so_far_is_the_fused_one() -> None:
    answers = {"dear": ok(DEAR, 0.0), "cheap": ok(CHEAP, 2.0), "middle": ok(MIDDLE, 8.0)}  # (2 + 8) / 2 is sure
    assert followed(course([DEAR, CHEAP, MIDDLE]), answers)[0] == [["cheap"], ["middle"]]


def test_the_most_fake_face_says_whether_it_is_enough() -> None:
    answers = {"dear": ok(DEAR, 0.0), "cheap": ok(CHEAP, -5.0, other_face=1.0)}
    assert followed(course([DEAR, CHEAP]), answers)[0] == [["cheap"], ["dear"]]


def test_faces_frames_and_sound_cascade_each() -> None:
    voice, better_voice = row("v", 0.1, "audio"), row("w", 1.0, "audio")
    answers = {"dear": ok(DEAR, 0.0), "cheap": ok(CHEAP, 5.0), "v": ok(voice, 0.0), "w": ok(better_voice, 0.0)}
    rounds, states = followed(course([DEAR, CHEAP, voice, better_voice]), answers)
    assert rounds == [["cheap", "v"], ["w"]]
    assert states["dear"] == "not_needed"


def test_one_that_gives_no_score_does_not_end_the_cascade() -> None:
    answers = {"cheap": Outcome(CHEAP, "failed", why="x"), "dear": ok(DEAR, 5.0)}
    assert followed(course([DEAR, CHEAP]), answers)[0] == [["cheap"], ["dear"]]


def test_a_score_that_cannot_be_judged_does_not_end_the_cascade() -> None:
    answers = {"cheap": ok(CHEAP, float("nan")), "dear": ok(DEAR, 5.0)}
    assert followed(course([DEAR, CHEAP]), answers)[0] == [["cheap"], ["dear"]]


def test_what_is_not_here_is_missed_only_if_its_turn_comes() -> None:
    absent = [Outcome(DEAR, "not_installed", why="pull")]
    _, sure = followed(course([DEAR, CHEAP], absent=absent), {"cheap": ok(CHEAP, 5.0)})
    _, unsure = followed(course([DEAR, CHEAP], absent=absent), {"cheap": ok(CHEAP, 0.0)})
    assert (sure["dear"], unsure["dear"]) == ("not_needed", "not_installed")


def test_a_cascade_neither_asks_nor_extracts_for_what_decides_nothing() -> None:
    shy = row("shy", 0.01, "audio", fused=False)
    way = course([CHEAP, shy])
    assert way.views == (CHEAP.view.view(),)
    assert followed(way, {"cheap": ok(CHEAP, 0.0)})[1]["shy"] == "not_needed"


def test_views_of_later_detectors_are_extracted_with_the_first() -> None:
    bigger = MIDDLE.model_copy(update={"view": MIDDLE.view.model_copy(update={"size": 224})})
    assert course([bigger, CHEAP]).views == (CHEAP.view.view(), bigger.view.view())


@pytest.mark.parametrize(
    ("model", "mode"), [("ensemble", "ensemble"), ("cascade", "cascade"), ("a", "single"), ("a,b", "selection")]
)
def test_a_models_name_says_the_mode(model: str, mode: str) -> None:
    assert mode_of(model) == mode


def test_several_are_chosen_by_name_in_the_order_asked_for() -> None:
    found = Catalogue((DEAR, CHEAP, MIDDLE), VerdictRow()).choose("cheap, dear")
    assert [chosen.id for chosen in found] == ["cheap", "dear"]


@pytest.mark.parametrize("model", ["cheap,cheap", "cheap,", ",", "cheap,ensemble", "cascade,cheap"])
def test_a_list_that_makes_no_sense_is_refused(model: str) -> None:
    with pytest.raises(WrongSelection):
        Catalogue((DEAR, CHEAP), VerdictRow()).choose(model)


def test_a_list_with_an_unknown_name_names_those_there_are() -> None:
    with pytest.raises(UnknownModel, match=r"'cheep'; cheap is alike.*ensemble, cascade, dear, cheap"):
        Catalogue((DEAR, CHEAP), VerdictRow()).choose("dear,cheep")
