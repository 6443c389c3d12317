"""Faces drawn from soft ellipses: nobody's, but with skin, shade, features and hair, so that the finder finds them.

Everything is measured in distances between the eyes, from the middle between them; y points down.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

POINTS = ((-0.5, 0.0), (0.5, 0.0), (0.0, 0.62), (-0.4, 1.1), (0.4, 1.1))  # as `training.portraits.POINTS`
BOX = (-1.17, -0.61, 1.17, 1.73)  # brows to chin, ear to ear: what dlib draws around these faces, on average
SIZE_WH = (192, 244)  # px; about that of the development data's portraits

Colour = tuple[float, float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One picture of a drawn face.

    Attributes:
        rgb: `(H, W, 3)` uint8 RGB.
        box_xyxy: `(4,)` float64, the face as dlib would box it, px.
        points: `(5, 2)` float64, x and y in px: right eye, left eye, nose, right and left corner of the mouth.
    """

    rgb: NDArray[np.uint8]
    box_xyxy: Floats
    points: Floats


@dataclass(frozen=True, slots=True)
class _Look:
    """What tells one drawn person from another. Colours are RGB in [0, 255]."""

    skin: Floats
    hair: Floats
    iris: Floats
    lips: Floats
    cloth: Floats
    width: float  # of the face, a factor
    brow: float  # thickness, a factor
    light_xy: Floats  # where the light comes from


class _Canvas:
    """A picture that ellipses are laid onto, each given in the face's own measure."""

    def __init__(self, rgb: Floats, middle_xy: Floats, eye_distance: float, tilt: float) -> None:
        self.rgb = rgb
        ys, xs = np.mgrid[0 : rgb.shape[0], 0 : rgb.shape[1]].astype(np.float64)
        across, down = (xs - middle_xy[0]) / eye_distance, (ys - middle_xy[1]) / eye_distance
        self.x = across * np.cos(tilt) + down * np.sin(tilt)
        self.y = down * np.cos(tilt) - across * np.sin(tilt)

    def cover(self, x: float, y: float, rx: float, ry: float, soft: float) -> Floats:
        """`(H, W)` in [0, 1]: 1 inside the ellipse, falling to 0 over `soft` of its radius around the edge."""
        radius = np.hypot((self.x - x) / rx, (self.y - y) / ry)
        cover: Floats = np.clip((1 + soft / 2 - radius) / soft, 0, 1)
        return cover

    def lay(self, colour: Floats, cover: Floats) -> None:
        """Paint one colour where it covers."""
        self.rgb += cover[..., None] * (colour - self.rgb)

    def shade(self, amount: float, cover: Floats) -> None:
        """Darken by a share of the light, or lighten by a negative one."""
        self.rgb *= 1 - amount * cover[..., None]


def draw_face(rng: np.random.Generator) -> Drawn:
    """One person before a backdrop; equal generators draw equal pictures."""
    look = _draw_look(rng)
    eye_distance, tilt = rng.uniform(34, 44), rng.uniform(-0.07, 0.07)
    middle_xy = np.array([SIZE_WH[0] / 2 + rng.uniform(-8, 8), SIZE_WH[1] * 0.42 + rng.uniform(-8, 8)])
    canvas = _Canvas(_backdrop(rng), middle_xy, eye_distance, tilt)
    _body(canvas, look)
    _head(canvas, look)
    for side in (-1, 1):
        _eye(canvas, look, side)
    _nose(canvas)
    _mouth(canvas, look)
    _fringe(canvas, look)
    rgb = canvas.rgb * (1 + 0.03 * _texture(rng, 2) + 0.04 * _texture(rng, 6)) + rng.normal(0, 2, canvas.rgb.shape)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    box_centre = (np.array(BOX[:2]) + BOX[2:]) / 2 @ turn.T * eye_distance + middle_xy
    half = (np.array(BOX[2:]) - BOX[:2]) / 2 * eye_distance
    return Drawn(
        rgb=np.clip(np.rint(rgb), 0, 255).astype(np.uint8),
        box_xyxy=np.concatenate([box_centre - half, box_centre + half]),
        points=np.array(POINTS) @ turn.T * eye_distance + middle_xy,
    )


def _draw_look(rng: np.random.Generator) -> _Look:
    light = rng.uniform(0.55, 1.0)
    skin = np.array([238.0, 190, 160]) * light + rng.uniform(-8, 8, 3)
    return _Look(
        skin=skin,
        hair=np.array([90.0, 60, 40]) * rng.uniform(0.2, 1.3),
        iris=rng.uniform(20, 80, 3),
        lips=skin * np.array([0.85, 0.55, 0.55]),
        cloth=rng.uniform(20, 160, 3),
        width=rng.uniform(0.93, 1.07),
        brow=rng.uniform(0.8, 1.4),
        light_xy=np.array([rng.uniform(-0.5, 0.5), rng.uniform(-0.6, -0.2)]),
    )


def _backdrop(rng: np.random.Generator) -> Floats:
    top, bottom = rng.uniform(60, 220, (2, 3))
    down = np.linspace(0, 1, SIZE_WH[1])[:, None, None]
    return np.repeat(top * (1 - down) + bottom * down, SIZE_WH[0], axis=1) + 10 * _texture(rng, 24)


def _body(canvas: _Canvas, look: _Look) -> None:
    canvas.lay(look.hair, canvas.cover(0, 0.0, 1.35 * look.width, 1.6, 0.12))
    canvas.lay(look.cloth, canvas.cover(0, 4.2, 3.0, 2.0, 0.05))
    canvas.lay(look.skin * 0.8, canvas.cover(0, 1.9, 0.7, 1.0, 0.15))


def _head(canvas: _Canvas, look: _Look) -> None:
    for side in (-1, 1):
        canvas.lay(look.skin * 0.85, canvas.cover(side * 1.15 * look.width, 0.3, 0.16, 0.36, 0.2))
    face = canvas.cover(0, 0.42, 1.13 * look.width, 1.5, 0.06)
    canvas.lay(look.skin, face)
    # Lit from one side, and darker where the cheeks and the jaw turn away.
    lit = canvas.x * look.light_xy[0] + (canvas.y - 0.4) * look.light_xy[1]
    canvas.shade(-0.25, face * np.clip(lit, -1, 1))
    canvas.shade(0.4, face * (1 - canvas.cover(0, 0.42, 1.05 * look.width, 1.42, 0.6)))
    canvas.shade(-0.10, canvas.cover(0, -0.55, 0.7, 0.35, 1.2))
    for side in (-1, 1):
        canvas.shade(-0.10, canvas.cover(side * 0.6, 0.6, 0.35, 0.3, 1.2))


def _eye(canvas: _Canvas, look: _Look, side: int) -> None:
    x = side * 0.5
    canvas.shade(0.45, canvas.cover(x, -0.05, 0.42, 0.28, 1.0))  # the socket
    canvas.lay(np.array([215.0, 210, 205]), canvas.cover(x, 0.0, 0.21, 0.09, 0.25))
    canvas.lay(look.iris, canvas.cover(x, 0.0, 0.10, 0.10, 0.25))
    canvas.lay(np.array([10.0, 8, 8]), canvas.cover(x, 0.0, 0.05, 0.05, 0.3))
    canvas.lay(look.hair * 0.4, canvas.cover(x, -0.09, 0.24, 0.045, 0.7))  # lashes
    canvas.lay(look.hair * 0.7, canvas.cover(x + side * 0.04, -0.34, 0.33, 0.075 * look.brow, 0.7))


def _nose(canvas: _Canvas) -> None:
    canvas.shade(-0.15, canvas.cover(0, 0.25, 0.10, 0.42, 1.0))
    canvas.shade(0.28, canvas.cover(0, 0.76, 0.26, 0.09, 1.0))
    for side in (-1, 1):
        canvas.shade(0.15, canvas.cover(side * 0.17, 0.4, 0.09, 0.4, 1.2))
        canvas.shade(0.6, canvas.cover(side * 0.12, 0.72, 0.07, 0.04, 0.8))


def _mouth(canvas: _Canvas, look: _Look) -> None:
    canvas.lay(look.lips, canvas.cover(0, 1.06, 0.40, 0.08, 0.5))
    canvas.lay(look.lips * 1.1, canvas.cover(0, 1.17, 0.33, 0.09, 0.5))
    canvas.lay(look.lips * 0.35, canvas.cover(0, 1.1, 0.42, 0.03, 0.6))
    canvas.shade(0.25, canvas.cover(0, 1.34, 0.3, 0.06, 1.2))
    for side in (-1, 1):
        canvas.shade(0.18, canvas.cover(side * 0.5, 0.9, 0.08, 0.3, 1.2))


def _fringe(canvas: _Canvas, look: _Look) -> None:
    above = np.clip((-0.62 - canvas.y - 0.25 * canvas.x**2) / 0.12 + 1, 0, 1)
    canvas.lay(look.hair, above * canvas.cover(0, 0.0, 1.3 * look.width, 1.5, 0.12))


def _texture(rng: np.random.Generator, grain: int) -> Floats:
    """`(H, W, 1)` smooth noise of unit variance with spots of `grain` px."""
    noise = cv2.GaussianBlur(rng.standard_normal(SIZE_WH[::-1]), (0, 0), grain)
    texture: Floats = np.asarray(noise / noise.std(), np.float64)[..., None]
    return texture
