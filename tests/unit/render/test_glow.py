"""Heatmaps over faces: which map when, where it lies, and how it fades with the score."""

import io
from dataclasses import replace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.render.glow import Levels, inside, levels_at, square_of, stretched, table
from models.render.layout import Rect
from models.render.overlay import Overlay
from models.render.palette import Rgb
from models.render.scene import Face, Scene
from models.render.stream import render
from models.render.text import Patch
from models.types import Heat
from tests.media import Coding, clip_from_frames, still
from tests.scenes import scene

# A box of 40 pixels whose square, with the margin, reaches from 80 to 160 across and from 60 to 140 down.
BOX = (100.0, 80.0, 140.0, 120.0)
SQUARE = Rect(80, 60, 160, 140)
GREY = 128


def heat(*maps: NDArray[np.uint8], times_s: tuple[float, ...] = (0.0,)) -> Heat:
    height, width = maps[0].shape
    return Heat(0, 0.5, times_s, (height, width), b"".join(found.tobytes() for found in maps))


def spot() -> NDArray[np.uint8]:
    """`(8, 8)`: strongest in row 4, column 3."""
    levels = np.zeros((8, 8), np.uint8)
    levels[4, 3] = 255
    return levels


def heated(p_fake: float = 1.0, found: Heat | None = None, **changes: Any) -> Scene:
    face = Face("face 0", p_fake, True, 0, (0.0, 1.0), (BOX, BOX), found or heat(spot()))  # noqa: FBT003
    return scene(1.0, faces=(face,), curves=(), spans=(), **changes)


class Ledger:
    """A canvas that writes down in which order what is drawn."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.glows: list[tuple[Levels, Rect]] = []

    def fill(self, rect: Rect, colour: Rgb) -> None:  # noqa: ARG002
        self.order.append("fill")

    def blend(self, patch: Patch, left: int, top: int) -> None:  # noqa: ARG002
        self.order.append("blend")

    def glow(self, levels_hw: Levels, square: Rect) -> None:
        self.order.append("glow")
        self.glows.append((levels_hw, square))


def drawn(what: Scene, t_s: float = 0.5) -> Ledger:
    ledger = Ledger()
    Overlay(what, (640, 360), np.array([t_s])).draw(ledger, 0)
    return ledger


def test_colours_are_those_of_the_maps_that_analyze_answers() -> None:
    turbo = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
    assert np.abs(table()[:, :3].astype(int) - turbo).max() <= 6


def test_opacity_rises_with_the_level_from_nothing() -> None:
    alpha = table()[:, 3].astype(int)
    assert (alpha[0], alpha[255]) == (0, 153)
    assert (np.diff(alpha) >= 0).all()


@pytest.mark.parametrize(
    ("t_s", "level"), [(0.0, 0), (1.0, 0), (1.5, 50), (2.0, 100), (2.25, 125), (3.0, 200), (9.0, 200)]
)
def test_between_two_moments_maps_change_linearly_and_are_held_beyond_them(t_s: float, level: int) -> None:
    maps = (np.full((2, 2), of, np.uint8) for of in (0, 100, 200))
    assert (levels_at(heat(*maps, times_s=(1.0, 2.0, 3.0)), 1.0, t_s) == level).all()


@pytest.mark.parametrize("p_fake", [0.0, 0.1, 0.5, 1.0])
def test_the_strongest_place_is_as_strong_as_the_face_is_fake(p_fake: float) -> None:
    assert levels_at(heat(spot()), p_fake, 0.0).max() == round(255 * p_fake)


def test_a_map_lies_on_the_square_that_the_detector_saw() -> None:
    assert square_of(np.array(BOX), 0.5) == SQUARE


def test_corners_are_even_whatever_the_box() -> None:
    square = square_of(np.array([101.3, 79.9, 136.2, 120.6]), 0.3)
    assert all(side % 2 == 0 for side in (square.left, square.top, square.right, square.bottom))


def test_the_visible_part_of_a_map_is_that_part_of_the_whole() -> None:
    levels = np.random.default_rng(5).integers(0, 256, (8, 8), np.uint8)
    square = Rect(-20, -30, 60, 50)
    part = inside(square, (40, 36))
    whole = stretched(levels, square, square, square.size_wh)
    assert part == Rect(0, 0, 40, 36)
    seen = stretched(levels, square, part, part.size_wh)
    assert np.abs(seen.astype(int) - whole[30:66, 20:60]).max() <= 1


def test_heat_is_drawn_below_boxes_and_words() -> None:
    ledger = drawn(heated())
    assert ledger.order.index("glow") == 0
    assert ledger.glows[0][1] == SQUARE


@pytest.mark.parametrize("t_s", [-0.5, 1.5])
def test_there_is_no_heat_where_there_is_no_box(t_s: float) -> None:
    late = heat(spot(), spot(), times_s=(-1.0, 2.0))
    assert drawn(heated(found=late), t_s).glows == []


def test_a_face_without_maps_is_drawn_as_ever() -> None:
    faces = tuple(replace(face, heat=None) for face in heated().faces)
    assert "glow" not in drawn(scene(1.0, faces=faces)).order


def picture(p_fake: float, box: tuple[float, float, float, float] = BOX) -> NDArray[np.int64]:
    """A grey picture with heat, as it comes out of the confined child."""
    what = heated(p_fake, kind="image", real_below=0.0, fake_above=0.0)
    what = replace(what, faces=(replace(what.faces[0], boxes_xyxy=(box, box)),))
    sent = still(np.full((400, 400, 3), GREY, np.uint8), "png")
    return np.asarray(Image.open(io.BytesIO(b"".join(render(sent, what)))), np.int64)


def test_a_picture_is_red_at_the_strongest_place_and_untouched_beside_the_square() -> None:
    pixels = picture(1.0)
    assert pixels[105, 115, 0] - pixels[105, 115, 2] > 40  # the middle of row 4, column 3: cells of 10 pixels
    assert (pixels[145:, 180:] == GREY).all()
    assert (pixels[125:138, 82:94] == GREY).all()  # inside the square, where the map is 0


def test_on_a_real_face_nothing_is_to_be_seen() -> None:
    assert np.abs(picture(0.05)[100:110, 110:120] - GREY).max() <= 4


@pytest.mark.parametrize("box", [(-20.0, -10.0, 30.0, 40.0), (380.0, 390.0, 410.0, 420.0), (500.0, 0.0, 540.0, 40.0)])
def test_a_square_that_reaches_past_the_picture_can_be_drawn(box: tuple[float, float, float, float]) -> None:
    assert picture(1.0, box).shape == (400, 400, 3)


def test_a_film_is_red_at_the_strongest_place_and_untouched_beside_the_square() -> None:
    frame = np.full((240, 320, 3), GREY, np.uint8)
    film = b"".join(render(clip_from_frames([frame] * 5, coding=Coding(fps=5)), heated(), threads=1))
    with av.open(io.BytesIO(film), "r") as container:
        (pixels, *_) = (found.to_ndarray(format="rgb24").astype(int) for found in container.decode(video=0))
    assert pixels[105, 115, 0] - pixels[105, 115, 2] > 40
    assert np.abs(pixels[150:180, 200:300] - GREY).max() <= 4
