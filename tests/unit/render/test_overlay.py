import numpy as np
import pytest

from models.render.glow import Levels
from models.render.layout import Layout, Rect
from models.render.overlay import Overlay
from models.render.palette import FAKE, PAPER, REAL, UNDECIDED, UNSCORED, Rgb, colour_of
from models.render.scene import Face
from models.render.text import Patch, banner, plain, width_of, wrapped
from tests.scenes import FACE, bare, scene

SIZES = [(640, 360), (360, 640), (1280, 720), (3840, 2160), (160, 96), (32, 32), (2, 2)]


class Ledger:
    """A canvas that writes down what is drawn."""

    def __init__(self) -> None:
        self.fills: list[tuple[Rect, Rgb]] = []
        self.patches: list[tuple[tuple[int, int], int, int]] = []

    def fill(self, rect: Rect, colour: Rgb) -> None:
        self.fills.append((rect, colour))

    def blend(self, patch: Patch, left: int, top: int) -> None:
        self.patches.append((patch.size_wh, left, top))

    def glow(self, levels_hw: Levels, square: Rect) -> None:
        """None of these faces has maps."""


def drawn(times_s: list[float], number: int, size_wh: tuple[int, int] = (640, 360), **changes: object) -> Ledger:
    ledger = Ledger()
    Overlay(scene(**changes), size_wh, np.array(times_s)).draw(ledger, number)  # type: ignore[arg-type]
    return ledger


def playhead_x(ledger: Ledger) -> float:
    rect = next(rect for rect, colour in ledger.fills if colour == PAPER)
    return (rect.left + rect.right) / 2


@pytest.mark.parametrize(
    ("p_fake", "colour"), [(0.61, FAKE), (0.6, UNDECIDED), (0.5, UNDECIDED), (0.4, UNDECIDED), (0.39, REAL)]
)
def test_colours_follow_the_bounds_of_the_verdict(p_fake: float, colour: Rgb) -> None:
    assert colour_of(p_fake, scene()) == colour


def test_a_face_without_a_score_has_a_colour_of_its_own() -> None:
    assert colour_of(None, scene()) == UNSCORED


@pytest.mark.parametrize("size_wh", SIZES)
def test_everything_can_be_drawn_at_every_size(size_wh: tuple[int, int]) -> None:
    assert drawn([0.0, 0.5, 1.0], 1, size_wh, reason="a long reason " * 20).patches


@pytest.mark.parametrize("size_wh", SIZES[:4])
def test_letters_and_strip_keep_their_share_of_the_picture(size_wh: tuple[int, int]) -> None:
    layout, short = Layout.of(*size_wh), min(size_wh)
    assert 0.03 <= layout.text / short <= 0.035
    assert 0.12 <= layout.strip.size_wh[1] / short <= 0.14
    assert layout.strip.bottom == size_wh[1]


def test_the_playhead_moves_from_the_axis_first_to_its_last_pixel() -> None:
    first, last = Layout.of(640, 360).axis
    at = [playhead_x(drawn([0.0, 0.5, 1.0], number)) for number in range(3)]
    assert at == [first, (first + last) / 2, last]


def test_a_box_is_drawn_where_the_face_is_and_in_its_colour() -> None:
    rects = [rect for rect, colour in drawn([0.0, 1.0], 0).fills if colour == FAKE]
    left, top, right, bottom = FACE.boxes_xyxy[0]
    assert min(rect.left for rect in rects) == left
    assert min(rect.top for rect in rects) == top
    assert max(rect.right for rect in rects) == right
    assert max(rect.bottom for rect in rects) == bottom


def test_nothing_is_drawn_of_a_face_after_its_last_sighting() -> None:
    assert all(colour != FAKE for _, colour in drawn([0.0, 1.5], 1).fills)


def test_a_label_stays_inside_the_picture() -> None:
    corner = Face("face 0", 0.9, True, 0, (0.0,), ((600.0, 0.0, 700.0, 300.0),))  # noqa: FBT003
    for (width, height), left, top in drawn([0.0], 0, faces=(corner,)).patches:
        assert left >= 0
        assert top >= 0
        assert left + width <= 640
        assert top + height <= 360


def test_a_picture_has_no_timeline() -> None:
    assert len(drawn([0.0], 0, kind="image").patches) == len(drawn([0.0], 0).patches) - 1


def test_a_long_reason_is_cut_with_three_dots_and_fits() -> None:
    lines = wrapped("word " * 100, 12, 200)
    assert len(lines) == 3
    assert lines[-1].endswith("...")
    assert all(width_of(line, 12) <= 200 for line in lines)


def test_the_banner_is_never_wider_than_it_may_be() -> None:
    assert banner(bare(), 24, 100).size_wh[0] <= 100


def test_letters_the_font_lacks_become_question_marks() -> None:
    assert plain("reason: лицо") == "reason: ????"
