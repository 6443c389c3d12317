"""The timeline: scores over time, on one patch that all frames share. The playhead moves over it."""

from PIL import Image, ImageDraw

from models.render.layout import Layout
from models.render.palette import FAKE, INK, PAPER, UNSCORED, Rgb, colour_of, curve_colour
from models.render.scene import Curve, Scene
from models.render.text import Patch, width_of, write

_FINER = 2  # drawn at twice the size and scaled down: lines without steps
_LEAST_ROWS = 8  # pixels that curves need; in smaller strips they take the words' place
_GROUND = (*INK, 190)
_SPAN = (FAKE[0] // 2, FAKE[1] // 2, FAKE[2] // 2, 215)
_RULE = (*UNSCORED, 215)


def timeline(scene: Scene, layout: Layout) -> Patch:
    """The strip: stretches above the threshold, the bounds of the verdict, the curves, or where faces are if none."""
    size_wh = layout.strip.size_wh
    image = Image.new("RGBA", (size_wh[0] * _FINER, size_wh[1] * _FINER), _GROUND)
    pen = _Pen(image, scene, layout)
    pen.spans()
    pen.bounds()
    for curve in scene.curves:
        pen.curve(curve, curve_colour(curve.name, scene))
    if not scene.curves:
        pen.presence()
    strip = image.resize(size_wh, Image.Resampling.BOX)
    if Rows(layout).top:
        _words(strip, scene, layout)
    return Patch.of(strip)


class Rows:
    """Which part of the strip's height scores are drawn in, in pixels from its top."""

    def __init__(self, layout: Layout) -> None:
        height = layout.strip.size_wh[1]
        self.bottom = height - max(1, height // 12)
        below_words = text_px(layout) + height // 10
        self.top = below_words if below_words < self.bottom - _LEAST_ROWS else 0

    def y_of(self, p_fake: float) -> float:
        """0 is at the bottom, 1 at the top."""
        return self.bottom - p_fake * (self.bottom - self.top)


def text_px(layout: Layout) -> int:
    """Size of the letters on the strip."""
    return max(10, round(layout.text * 0.72))


class _Pen:
    """Draws at `_FINER` times the strip's size."""

    def __init__(self, image: Image.Image, scene: Scene, layout: Layout) -> None:
        self._draw = ImageDraw.Draw(image)
        self._scene, self._layout = scene, layout
        self._rows = Rows(layout)
        self._line = max(2, round(layout.line * 0.75)) * _FINER

    def spans(self) -> None:
        for span in self._scene.spans:
            left, right = self._x(span.start_s), self._x(span.end_s)
            wide = max(right, left + self._line)  # a single point is seen too
            self._draw.rectangle((left, self._y(1.0), wide, self._y(0.0)), fill=_SPAN)

    def bounds(self) -> None:
        first, last = (x * _FINER for x in self._layout.axis)
        for p_fake in {0.0, self._scene.real_below, self._scene.fake_above, 1.0}:
            y = self._y(p_fake)
            self._draw.line((first, y, last, y), fill=_RULE, width=max(_FINER, self._line // 3))

    def curve(self, curve: Curve, colour: Rgb) -> None:
        points = [(self._x(t), self._y(p)) for t, p in zip(curve.times_s, curve.p_fake, strict=True)]
        self._draw.line(points, fill=colour, width=self._line, joint="curve")
        if len(points) == 1:
            (x, y), r = points[0], self._line
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def presence(self) -> None:
        """A bar per face, from its first moment to its last, in the colour of its score."""
        faces = [face for face in self._scene.faces if face.times_s]
        height = (self._y(0.0) - self._y(1.0)) / max(len(faces), 1)
        for row, face in enumerate(faces):
            top = self._y(1.0) + row * height
            right = max(self._x(face.times_s[-1]), self._x(face.times_s[0]) + self._line)
            box = (self._x(face.times_s[0]), top + height * 0.25, right, top + height * 0.75)
            self._draw.rectangle(box, fill=colour_of(face.p_fake, self._scene))

    def _x(self, t_s: float) -> float:
        return self._layout.x_of(t_s, self._scene.duration_s) * _FINER

    def _y(self, p_fake: float) -> float:
        return self._rows.y_of(p_fake) * _FINER


def _words(strip: Image.Image, scene: Scene, layout: Layout) -> None:
    """Above the curves: whose they are, and at the right how long the media is."""
    size, y = text_px(layout), text_px(layout) * 0.75
    x, last = layout.axis
    length = clock(scene.duration_s)
    write(strip, (last - width_of(length, size), y), length, size, PAPER)
    end = last - width_of(length, size) - size
    for curve in scene.curves:
        if x + width_of(curve.name, size) > end:
            return
        write(strip, (x, y), curve.name, size, curve_colour(curve.name, scene))
        x += width_of(curve.name, size) + size


def clock(seconds: float) -> str:
    """`1:05`, or `4.2 s` for what is shorter than ten seconds."""
    return f"{seconds:.1f} s" if seconds < 10 else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"  # noqa: PLR2004
