"""What is drawn over one frame, whatever the frame is made of."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.render.glow import Levels, levels_at, square_of
from models.render.layout import Layout, Rect, even
from models.render.motion import boxes_at
from models.render.palette import INK, PAPER, Rgb, colour_of
from models.render.scene import Face, Scene
from models.render.strip import timeline
from models.render.text import Patch, banner, face_label


class Canvas(Protocol):
    """A frame that can be drawn on; what lies outside is left out."""

    def fill(self, rect: Rect, colour: Rgb) -> None:
        """Fill a rectangle."""

    def blend(self, patch: Patch, left: int, top: int) -> None:
        """Blend in a patch, its upper left corner there."""

    def glow(self, levels_hw: Levels, square: Rect) -> None:
        """Blend in the colours of a map, stretched over a square at even coordinates."""


class Overlay:
    """Boxes, scores, heat, timeline and verdict for the frames of one file.

    Args:
        scene: what to draw.
        size_wh: of the frames.
        times_s: `(N,)`, when each is shown.
    """

    def __init__(self, scene: Scene, size_wh: tuple[int, int], times_s: NDArray[np.float64]) -> None:
        self._scene, self._layout, self._times_s = scene, Layout.of(*size_wh), times_s
        self._faces = [_Drawn(face, scene, self._layout, times_s) for face in scene.faces]
        self._banner = banner(scene, self._layout.text, size_wh[0] - 2 * self._layout.gap)
        self._strip = None if scene.kind == "image" else timeline(scene, self._layout)

    def draw(self, canvas: Canvas, number: int) -> None:
        """Draw over the frame of that number."""
        for face in self._faces:  # below all lines
            face.glow(canvas, number)
        for face in self._faces:
            face.outline(canvas, number)
        for face in self._faces:  # no box may cross a label
            face.name(canvas, number)
        canvas.blend(self._banner, self._layout.gap, self._layout.gap)
        if self._strip is not None:
            canvas.blend(self._strip, self._layout.strip.left, self._layout.strip.top)
            self._playhead(canvas, float(self._times_s[number]))

    def _playhead(self, canvas: Canvas, t_s: float) -> None:
        strip, half = self._layout.strip, max(1, self._layout.line // 2)
        x = self._layout.x_of(t_s, self._scene.duration_s)
        canvas.fill(Rect(x - 2 * half, strip.top, x + 2 * half, strip.bottom), INK)
        canvas.fill(Rect(x - half, strip.top, x + half, strip.bottom), PAPER)


class _Drawn:
    """One face: where it is in every frame, its colour and its label."""

    def __init__(self, face: Face, scene: Scene, layout: Layout, times_s: NDArray[np.float64]) -> None:
        self._boxes, self._times_s = boxes_at(face, times_s), times_s
        self._heat, self._p_fake = face.heat, face.p_fake or 0.0
        self._colour = colour_of(face.p_fake, scene)
        self._label = face_label(face, scene, layout.text)
        self._layout = layout
        self._line = even(layout.line * 1.5) if face.decided else layout.line

    def glow(self, canvas: Canvas, number: int) -> None:
        box = self._boxes[number]
        if self._heat is not None and not np.isnan(box[0]):
            levels = levels_at(self._heat, self._p_fake, float(self._times_s[number]))
            canvas.glow(levels, square_of(box, self._heat.margin))

    def outline(self, canvas: Canvas, number: int) -> None:
        rect = self._rect(number)
        if rect is not None:
            edge = max(2, self._line // 2)
            _frame(canvas, _grown(rect, edge), self._line + 2 * edge, INK)  # seen on any ground
            _frame(canvas, rect, self._line, self._colour)

    def name(self, canvas: Canvas, number: int) -> None:
        rect = self._rect(number)
        if rect is None:
            return
        width, height = self._label.size_wh
        below = rect.top - height < 0
        top = rect.bottom if below else rect.top - height
        top = min(top, self._layout.height - height)
        left = max(0, min(rect.left, self._layout.width - width))
        canvas.blend(self._label, left, max(0, top))

    def _rect(self, number: int) -> Rect | None:
        box = self._boxes[number]
        if np.isnan(box[0]):
            return None
        left, top, right, bottom = (2 * round(side / 2) for side in box.tolist())
        return Rect(left, top, max(right, left + 2), max(bottom, top + 2))


def _grown(rect: Rect, by: int) -> Rect:
    return Rect(rect.left - by, rect.top - by, rect.right + by, rect.bottom + by)


def _frame(canvas: Canvas, rect: Rect, line: int, colour: Rgb) -> None:
    """The edge of a rectangle, inward."""
    canvas.fill(Rect(rect.left, rect.top, rect.right, rect.top + line), colour)
    canvas.fill(Rect(rect.left, rect.bottom - line, rect.right, rect.bottom), colour)
    canvas.fill(Rect(rect.left, rect.top + line, rect.left + line, rect.bottom - line), colour)
    canvas.fill(Rect(rect.right - line, rect.top + line, rect.right, rect.bottom - line), colour)
