"""How the colours of faces are spread in real clips and their forgeries: histograms of each frame.

Making a clip takes a hundred times as long as a step of the small network that learns from it. So the clips are made
first and kept, and training draws from them.

The light of a clip wanders and flickers, as exposure and white balance of a camera do, by the same amounts in the real
clip and in its forgery: else a flicker of the whole picture would say "fake".
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.detectors.color_cues_lstm import histograms
from models.faces.crop import resize
from models.types import View
from training.augment import Degradation, draw_degradation
from training.face_clips import filmed_crops, forged_clip, placed_boxes
from training.forgeries.families import FAMILIES, Forger, draw_family
from training.forgeries.temporal import MovingFace, moving_portrait, walk
from training.portraits import Portrait

LARGEST_FACE = 64.0  # px of face box: a histogram of colours has no use for more, and forging costs by the pixel
HISTORIES = 3  # of every forged clip that is learnt from: one costs a third of what a forgery costs
VAL_SEED = 7
# What validation clips go through: a drawn history, none, and H.264 as messengers send it.
LEVELS = {"drawn": None, "clean": Degradation(), "H.264 at 33": Degradation(crf=33)}
# Spread of the light's walks at an amount of 1: shares for red, green and blue, grey levels, shares for the rest.
RED, GREEN, BLUE, GREY_LEVELS, CONTRAST, GAMMA = 0.012, 0.006, 0.016, 3.0, 0.02, 0.02
LEAST_AMOUNT, MOST_AMOUNT = 0.15, 1.5  # from a studio to a telephone that hunts for its exposure
MOST_FLICKER = 0.5  # of a walk's spread, drawn anew in each frame

Histograms = NDArray[np.uint8]
Two = tuple[MovingFace, MovingFace]


@dataclass(frozen=True, slots=True)
class Sight:
    """What is kept of a clip: `bins` along red and along green of the crops that `view` cuts from so many frames, T."""

    view: View
    bins: int
    frames: int


class ColorClips:
    """Makes clips of one split's portraits: to learn from by `learnt`, to judge by with `judged`.

    Args:
        portraits: of the split.
        nets: folder of the face autoencoders that forge.
        sight: how clips are cut and counted.
        seed: of what is learnt from, together with the index.
    """

    def __init__(self, portraits: Sequence[Portrait], nets: Path, sight: Sight, seed: int) -> None:
        self.portraits = [shrunk(portrait) for portrait in portraits]
        self._forger = Forger(self.portraits, nets)
        self._sight = sight
        self._seed = seed

    def shape(self, histories: int) -> tuple[int, ...]:
        """Of one row: histories, real and forged, T, `bins * bins`."""
        return histories, 2, self._sight.frames, self._sight.bins**2

    def learnt(self, index: int) -> Histograms:
        """A random portrait forged by a random family of training, `shape(HISTORIES)` uint8."""
        rng = np.random.default_rng([self._seed, index])
        portrait = self.portraits[int(rng.integers(len(self.portraits)))]
        clips = self._forged(draw_family(rng), portrait, rng)
        return np.stack([counted(clips, None, self._sight, rng) for _ in range(HISTORIES)])

    def judged(self, index: int) -> Histograms:
        """The families of one portrait in a row, those that are not learnt from, too; `shape(len(LEVELS))` uint8.

        The same whatever the seed, so that runs can be compared.
        """
        rng = np.random.default_rng([VAL_SEED, index])
        person, family = divmod(index, len(FAMILIES))
        clips = self._forged(FAMILIES[family], self.portraits[person], rng)
        return np.stack([counted(clips, level, self._sight, rng) for level in LEVELS.values()])

    def _forged(self, family: str, portrait: Portrait, rng: np.random.Generator) -> Two:
        face = moving_portrait(portrait, self._sight.frames, rng)
        real, forged = forged_clip(self._forger, family, portrait, face, rng)
        return replace(face, frames=real), replace(face, frames=forged)


def counted(clips: Two, level: Degradation | None, sight: Sight, rng: np.random.Generator) -> Histograms:
    """Histograms of a real clip and its forgery after one history.

    Args:
        clips: before it.
        level: the history; None draws one, with a light that wanders.
        sight: how clips are cut and counted.
        rng: every random choice comes from it.

    Returns:
        `(2, T, bins * bins)` uint8; 255 is the most frequent colour of each frame.
    """
    how = draw_degradation(rng) if level is None else level
    histories = placed_boxes(clips[0].boxes_xyxy, how, rng)
    if level is None:
        histories = lit(histories, rng)
    crops = [filmed_crops(clip.frames, clip.boxes_xyxy, histories, how, sight.view) for clip in clips]
    return np.stack([histograms(torch.from_numpy(clip), sight.bins).round().byte().numpy() for clip in crops])


def lit(histories: Sequence[Degradation], rng: np.random.Generator) -> tuple[Degradation, ...]:
    """The history of each frame, under a light that wanders and flickers by a drawn amount."""
    amount = np.exp(rng.uniform(np.log(LEAST_AMOUNT), np.log(MOST_AMOUNT)))
    flicker = rng.uniform(0, MOST_FLICKER)
    walks = amount * np.stack([walk(len(histories), rng, flicker) for _ in range(6)])
    return tuple(_under(how, walks[:, t]) for t, how in enumerate(histories))


def shrunk(portrait: Portrait) -> Portrait:
    """The portrait with a face of at most `LARGEST_FACE` pixels."""
    side = float(np.max(portrait.box_xyxy[2:] - portrait.box_xyxy[:2]))
    scale = np.float32(min(1.0, LARGEST_FACE / side))
    if scale == 1:
        return portrait
    height, width = portrait.rgb.shape[:2]
    rgb = resize(portrait.rgb, (round(width * float(scale)), round(height * float(scale))))
    return Portrait(portrait.name, rgb, portrait.box_xyxy * scale, portrait.points * scale)


def _under(how: Degradation, light: NDArray[np.float64]) -> Degradation:
    """One frame's history with the walks' values: red, green, blue, level, contrast, gamma."""
    red, green, blue, level, contrast, gamma = (float(v) for v in light)
    return replace(
        how,
        gains=(
            how.gains[0] * (1 + RED * red),
            how.gains[1] * (1 + GREEN * green),
            how.gains[2] * (1 + BLUE * blue),
        ),
        brightness=how.brightness + GREY_LEVELS * level,
        contrast=how.contrast * (1 + CONTRAST * contrast),
        gamma=how.gamma * float(np.exp(GAMMA * gamma)),
    )
