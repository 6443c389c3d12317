"""Pairs of clips and pictures: a portrait, perhaps set in motion, its forgery, and one camera for both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.augment import Degradation, draw_degradation, filmed
from training.datasets.items import joined
from training.forgeries.face_swap import similar_face, swap_faces
from training.forgeries.families import Forger
from training.forgeries.self_blend import Pair as PicturePair
from training.forgeries.self_blend import self_blend
from training.forgeries.temporal import MovingFace, moving_portrait, self_blend_clip
from training.portraits import Portrait
from training.validation.files import clip_bytes, picture_bytes, within
from training.validation.plan import Pair, Which, face_pair, families_of, seeded

RATES_FPS = (12, 15, 20, 25)
LENGTH_S = 2.0
FACE_PX = (96.0, 180.0)  # longer side of the face box in the file: what a detector gets is 160 px
CRF = (20, 38)  # of H.264
QUALITY = (35, 96)  # of JPEG and WebP
COARSER_CRF, COARSER_QUALITY = 3, -10  # until both files of a pair are small enough

Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FaceStudio:
    """Makes pairs of faces.

    Attributes:
        portraits: whole pictures of one split; swaps take their faces from them too.
        nets: folder of the face autoencoders.
    """

    portraits: Sequence[Portrait]
    nets: Path

    def planned(self, which: Which) -> list[Pair]:
        """Every pair of clips, or of pictures."""
        return [
            face_pair(which, face.name, family, self._group(which, face, family))
            for number, face in enumerate(self.portraits)
            for family in families_of(which, number)
        ]

    def written(self, pair: Pair) -> tuple[bytes, bytes]:
        """The real file and the forged one."""
        face = next(face for face in self.portraits if face.name == pair.name)
        return self._clips(pair, face) if pair.which == "clips" else self._stills(pair, face)

    def _clips(self, pair: Pair, face: Portrait) -> tuple[bytes, bytes]:
        rng = pair.rng("history")
        rate = int(rng.choice(RATES_FPS))
        moving = moving_portrait(face, round(LENGTH_S * rate), rng)
        real, forged = self._forged_clip(pair, face, moving)
        how, crf = drawn_history(rng), int(rng.integers(*CRF))
        both = [list(seen_by_camera(frames, face, how)) for frames in (real, forged)]
        return within(lambda c: [clip_bytes(frames, rate, c) for frames in both], crf, COARSER_CRF)

    def _stills(self, pair: Pair, face: Portrait) -> tuple[bytes, bytes]:
        rng = pair.rng("history")
        made = self._forged(pair, face, face, pair.rng("forgery"))
        how, quality = drawn_history(rng), int(rng.integers(*QUALITY))
        both = [next(iter(seen_by_camera(rgb[None], face, how))) for rgb in (made.real, made.forged)]
        return within(lambda q: [picture_bytes(rgb, pair.suffix, q) for rgb in both], quality, COARSER_QUALITY)

    def _forged_clip(self, pair: Pair, face: Portrait, moving: MovingFace) -> tuple[Pictures, Pictures]:
        """Frames `(T, H, W, 3)` of both. What is no self-blend forges each frame anew, with the same choices."""
        if pair.family == "self_blend":
            made = self_blend_clip(moving, pair.rng("forgery"))
            return made.real, made.forged
        pictures = [
            self._forged(pair, face, replace(face, rgb=frame, box_xyxy=box, points=points), pair.rng("forgery"))
            for frame, box, points in zip(moving.frames, moving.boxes_xyxy, moving.points, strict=True)
        ]
        return np.stack([p.real for p in pictures]), np.stack([p.forged for p in pictures])

    def _forged(self, pair: Pair, face: Portrait, shown: Portrait, rng: np.random.Generator) -> PicturePair:
        """One picture; `face` is the portrait at rest, which decides whose face a swap takes."""
        if pair.family == "self_blend":
            return self_blend(shown, rng)
        if pair.family == "face_swap":
            return swap_faces(shown, self._stranger(pair.which, face), rng)
        return Forger(self.portraits, self.nets).forge(pair.family, shown, rng)

    def _group(self, which: Which, face: Portrait, family: str) -> str:
        borrowed = [self._stranger(which, face).name] if family == "face_swap" else []
        return joined([face.name, *borrowed])

    def _stranger(self, which: Which, face: Portrait) -> Portrait:
        return similar_face(face, self.portraits, seeded(which, face.name, "stranger"))


def drawn_history(rng: np.random.Generator) -> Degradation:
    """A history as training draws it, but with a face that can be found, and with compression left to the file."""
    side = float(np.exp(rng.uniform(*np.log(FACE_PX))))
    return replace(draw_degradation(rng), face_side=side, jpeg=0, crf=0, flip=False)


def seen_by_camera(frames: Pictures, face: Portrait, how: Degradation) -> Iterable[Pictures]:
    """Frames `(T, H, W, 3)` through one camera; its noise is another in every frame, and the same in both of a pair."""
    scale = how.face_side / float(np.max(face.box_xyxy[2:] - face.box_xyxy[:2]))
    for number, frame in enumerate(frames):
        yield filmed(frame, replace(how, noise_seed=how.noise_seed + number), scale)
