"""Sizes and places, all from the size of the picture, so that 360p and 4K read alike."""

from dataclasses import dataclass

_REFERENCE_PX = 720  # of the shorter side: the sizes below are what looks right there
_TEXT_PX, _LEAST_TEXT_PX = 24, 11  # smaller letters cannot be read after encoding
_STRIP_SHARE, _LEAST_STRIP_PX, _MOST_STRIP_SHARE = 0.13, 40, 0.3


def even(value: float) -> int:
    """The nearest even number, at least 2: colour has half the resolution of light in video."""
    return max(2, 2 * round(value / 2))


@dataclass(frozen=True, slots=True)
class Rect:
    """Left, top, right, bottom in pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.right - self.left, self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes in pixels for one size of picture.

    Attributes:
        text: height of letters' boxes.
        line: thickness of a face's box.
        gap: between what is drawn and the picture's edge.
        strip: the timeline along the lower edge.
    """

    width: int
    height: int
    text: int
    line: int
    gap: int
    strip: Rect

    @classmethod
    def of(cls, width: int, height: int) -> "Layout":
        """The layout of a picture of that size."""
        scale = min(width, height) / _REFERENCE_PX
        wanted = max(_LEAST_STRIP_PX, _STRIP_SHARE * min(width, height))
        strip = even(min(wanted, _MOST_STRIP_SHARE * height))
        return cls(
            width=width,
            height=height,
            text=max(_LEAST_TEXT_PX, round(_TEXT_PX * scale)),
            line=even(3.6 * scale),
            gap=even(10 * scale),
            strip=Rect(0, height - strip, width, height),
        )

    @property
    def axis(self) -> tuple[int, int]:
        """Where time 0 and the end of the media are on the strip, in pixels from the left."""
        return 2 * self.gap, self.width - 2 * self.gap

    def x_of(self, t_s: float, duration_s: float) -> int:
        """Where a moment is on the strip, in pixels from the left."""
        first, last = self.axis
        share = t_s / duration_s if duration_s > 0 else 0.0
        return round(first + min(max(share, 0.0), 1.0) * (last - first))
