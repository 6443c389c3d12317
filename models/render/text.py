"""Words as small pictures. They are drawn once; every frame only blends them in."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.render.palette import INK, PAPER, Rgb, colour_of, curve_colour
from models.render.scene import Face, Scene

GROUND = (*INK, 176)  # behind words: dark enough on snow, and the picture still shows
_MOST_LINES = 3
_LEADING = 1.3


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A small picture to blend in: `(H, W, 4)` uint8 RGB and alpha, of even height and width."""

    rgba: NDArray[np.uint8]

    @classmethod
    def of(cls, image: Image.Image) -> "Patch":
        """From Pillow, with a row or a column of nothing added where the size is odd."""
        rgba = np.asarray(image.convert("RGBA"), np.uint8)
        height, width = rgba.shape[:2]
        return cls(np.pad(rgba, ((0, height % 2), (0, width % 2), (0, 0))))

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.rgba.shape[1], self.rgba.shape[0]


@cache
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """Pillow's own letters (Aileron), which are part of it: the confined child can open no file."""
    found = ImageFont.load_default(size_px)
    assert isinstance(found, ImageFont.FreeTypeFont)
    return found


def write(image: Image.Image, at_xy: tuple[float, float], words: str, size_px: int, colour: Rgb) -> None:
    """Write one line into a picture, its left end and its middle at `at_xy`."""
    ImageDraw.Draw(image).text(at_xy, plain(words), fill=colour, font=font(size_px), anchor="lm")


def width_of(words: str, size_px: int) -> int:
    """How wide a line is, in pixels."""
    return round(font(size_px).getlength(plain(words)))


def plain(words: str) -> str:
    """What the font has: Latin letters. The names of files, which may have others, are never drawn."""
    return words.encode("latin-1", "replace").decode("latin-1")


def score(p_fake: float | None) -> str:
    """A score in words."""
    return "not scored" if p_fake is None else f"{p_fake:.2f}"


def face_label(face: Face, scene: Scene, size_px: int) -> Patch:
    """A face's name and score on its colour, with the colour of its curve before it if it has one."""
    ground = colour_of(face.p_fake, scene)
    words = f"{face.name}  {score(face.p_fake)}"
    pad, height = size_px // 3, round(size_px * _LEADING)
    mark = height if any(curve.name == face.name for curve in scene.curves) else 0
    image = Image.new("RGBA", (mark + width_of(words, size_px) + 2 * pad, height), (*ground, 255))
    if mark:
        inner = (pad, height // 3, pad + height // 2, height - height // 3)
        ImageDraw.Draw(image).rectangle(inner, fill=curve_colour(face.name, scene), outline=INK)
    write(image, (mark + pad, height / 2), words, size_px, INK)
    return Patch.of(image)


def banner(scene: Scene, size_px: int, most_width: int) -> Patch:
    """The verdict on its colour, its score beside it, the reason below."""
    large, pad = round(size_px * 1.4), size_px // 2
    words = "nothing was scored" if scene.p_fake is None else f"p(fake) {scene.p_fake:.2f}"
    pill = width_of(scene.verdict, large) + 2 * pad
    first = pill + pad + width_of(words, size_px)
    small = max(11, round(size_px * 0.8))
    lines = wrapped(scene.reason, small, most_width - 2 * pad)
    width = max(2, min(most_width, max([first, *(width_of(line, small) + pad for line in lines)]) + pad))
    top, leading = round(large * _LEADING), round(small * _LEADING)
    image = Image.new("RGBA", (width, top + (leading * len(lines) + pad if lines else 0)), GROUND)
    ImageDraw.Draw(image).rectangle((0, 0, pill - 1, top - 1), fill=(*_verdict_colour(scene), 255))
    write(image, (pad, top / 2), scene.verdict, large, INK)
    write(image, (pill + pad, top / 2), words, size_px, PAPER)
    for number, line in enumerate(lines):
        write(image, (pad, top + pad / 2 + leading * (number + 0.5)), line, small, PAPER)
    return Patch.of(image)


def _verdict_colour(scene: Scene) -> Rgb:
    by_verdict = {"FAKE": 1.0, "REAL": 0.0, "UNDETERMINED": (scene.real_below + scene.fake_above) / 2}
    return colour_of(by_verdict[scene.verdict], scene)


def wrapped(words: str, size_px: int, most_width: int) -> Sequence[str]:
    """Lines that fit in `most_width` pixels; what goes beyond the last one becomes three dots."""
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size_px) <= most_width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) <= _MOST_LINES:
        return lines
    return [*lines[: _MOST_LINES - 1], _cut(lines[_MOST_LINES - 1] + " ...", size_px, most_width)]


def _cut(line: str, size_px: int, most_width: int) -> str:
    while width_of(line, size_px) > most_width and " " in line[:-4]:
        line = line[:-4].rpartition(" ")[0] + " ..."
    return line
