"""Scores over time as a drawing."""

import pytest

from serve_app.chart import HEIGHT, LEFT, MOST_LINES, MOST_TICKS, RIGHT, TOP, WIDTH, chart, clock, ticks, y_of
from serve_app.schemas import SegmentBody, TimelineBody, VerdictBody
from tests.api.conftest import verdict_body


def with_timeline(*points: tuple[float, int | None, float], duration_s: float = 10.0) -> VerdictBody:
    body = verdict_body()
    timeline = [TimelineBody(t_s=t, face=face, p_fake=p, region="face") for t, face, p in points]
    media = body.media.model_copy(update={"duration_s": duration_s})
    return body.model_copy(update={"timeline": timeline, "media": media, "segments": []})


def test_without_scores_over_time_nothing_is_drawn() -> None:
    assert chart(with_timeline(), 0.4, 0.6) is None


def test_each_subject_has_a_line_in_the_order_of_time() -> None:
    drawn = chart(with_timeline((5.0, 0, 1.0), (0.0, 0, 0.0), (0.0, 1, 0.5)), 0.4, 0.6)
    assert drawn
    assert [(line.name, line.peak) for line in drawn.lines] == [("face 0", 1.0), ("face 1", 0.5)]
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    assert drawn.lines[0].points == ((LEFT, y_of(0.0)), (middle, TOP))


def test_of_many_subjects_the_highest_are_drawn_and_the_rest_counted() -> None:
    drawn = chart(with_timeline(*((0.0, face, face / 100) for face in range(MOST_LINES + 3))), 0.4, 0.6)
    assert drawn
    assert drawn.left_out == 3
    assert [line.name for line in drawn.lines] == [f"face {face}" for face in range(3, MOST_LINES + 3)]


def test_a_segment_of_one_moment_can_be_seen() -> None:
    body = with_timeline((5.0, 0, 0.9))
    body.segments.append(SegmentBody(start_s=5.0, end_s=5.0, mean=0.9, peak=0.9, source="face 0"))
    drawn = chart(body, 0.4, 0.6)
    assert drawn
    assert drawn.segments[0].width == 2.0


@pytest.mark.parametrize("duration_s", [0.0, 0.04, 4.0, 59.0, 600.0, 1800.0, 100_000.0])
def test_everything_lies_within_the_drawing(duration_s: float) -> None:
    drawn = chart(with_timeline((0.0, 0, 0.0), (duration_s, 0, 1.0), duration_s=duration_s), 0.4, 0.6)
    assert drawn
    inside = [(x, y) for line in drawn.lines for x, y in line.points]
    inside += [(tick.at, drawn.bottom) for tick in drawn.ticks]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in inside)
    assert 1 <= len(drawn.ticks) <= MOST_TICKS + 1


def test_ticks_are_round() -> None:
    assert [tick.text for tick in ticks(4.0)][:3] == ["0 s", "0.5 s", "1 s"]
    assert [tick.text for tick in ticks(1800.0)][:3] == ["0 s", "5:00", "10:00"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0 s"), (0.44, "0.4 s"), (12.0, "12 s"), (187.0, "3:07"), (3750.0, "1:02:30")],
)
def test_times_are_said_as_in_a_player(seconds: float, said: str) -> None:
    assert clock(seconds) == said
