"""Colours, `(red, green, blue)` in sRGB."""

from models.render.scene import Scene

Rgb = tuple[int, int, int]

FAKE: Rgb = (239, 68, 60)
REAL: Rgb = (72, 187, 98)
UNDECIDED: Rgb = (255, 184, 28)
UNSCORED: Rgb = (170, 176, 184)
INK: Rgb = (16, 18, 22)
PAPER: Rgb = (245, 246, 248)
# Of curves: told apart by people who do not see red and green as others do (Okabe and Ito, 2008), brighter for dark
# ground, and none of them one of the colours above.
_CURVES: tuple[Rgb, ...] = ((86, 180, 233), (240, 228, 66), (204, 121, 167), (255, 255, 255), (120, 220, 200))
SOUND: Rgb = (190, 150, 255)


def colour_of(p_fake: float | None, scene: Scene) -> Rgb:
    """By the bounds of the verdict."""
    if p_fake is None:
        return UNSCORED
    if p_fake > scene.fake_above:
        return FAKE
    return REAL if p_fake < scene.real_below else UNDECIDED


def curve_colour(name: str, scene: Scene) -> Rgb:
    """The same for a face's curve and the mark beside its name."""
    if name == "sound":
        return SOUND
    names = [face.name for face in scene.faces]
    return _CURVES[names.index(name) % len(_CURVES)] if name in names else PAPER
