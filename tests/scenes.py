"""Scenes for the tests that draw."""

from dataclasses import replace
from typing import Any

from models.render.scene import Curve, Face, Scene, Span

FACE = Face("face 0", 0.9, True, 0, (0.0, 1.0), ((20.0, 30.0, 60.0, 70.0), (40.0, 30.0, 80.0, 70.0)))  # noqa: FBT003


def scene(duration_s: float = 1.0, **changes: Any) -> Scene:
    """One face that moves to the right for a second, its curve, and one stretch above the threshold."""
    plain = Scene(
        kind="video",
        verdict="FAKE",
        p_fake=0.9,
        reason="",
        real_below=0.4,
        fake_above=0.6,
        duration_s=duration_s,
        faces=(FACE,),
        curves=(Curve("face 0", (0.0, 0.5, 1.0), (0.2, 0.9, 0.7)),),
        spans=(Span(0.5, 1.0),),
    )
    return replace(plain, **changes)


def bare(duration_s: float = 1.0) -> Scene:
    """No face, no curve: little is drawn over the middle of the picture."""
    return scene(duration_s, faces=(), curves=(), spans=())
