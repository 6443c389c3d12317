"""Clips of face crops, real and forged, made of portraits: what a detector of clips sees of one face track.

The portrait moves as a head does; each frame is forged anew, as methods do that know no time, so that the forgery
trembles; then both clips go through one history, coded as one stream, and are cut by boxes that tremble, too, as a
face finder's do. Frames follow each other as those that the service takes from a clip of a few seconds.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.faces.crop import face_crop
from models.types import View
from training.augment import Degradation, draw_degradation, filmed, h264_stream, misplaced
from training.forgeries.face_swap import similar_face, swap_faces
from training.forgeries.families import Forger
from training.forgeries.self_blend import Pair, blend, eye_distance
from training.forgeries.temporal import MovingFace, moving_portrait, self_blend_clip, walk
from training.portraits import Portrait

LANDMARK_ERROR = 0.012  # of the distance between the eyes: a forger's landmarks tremble from frame to frame
FAINTER = 0.06  # of the forged layer: how much its strength wanders and flickers, as in `temporal`
BOX_SHIFT, BOX_SCALE = 0.015, 0.015  # error of the face box that is drawn anew in each frame, shares of its side

Clips = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def clip_pair(  # noqa: PLR0917 - who, how, what of, seen how, how long, by which chance: each once, in this order
    forger: Forger, family: str, portrait: Portrait, view: View, frames: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One real clip of face crops and its forgery through the same history.

    Args:
        forger: of the portrait's split.
        family: one of `training.forgeries.families.FAMILIES`.
        portrait: a real face; not modified.
        view: how crops are cut: its `margin` and `size`.
        frames: of each clip, T.
        rng: every random choice comes from it, so equal generators give equal pairs.

    Returns:
        `(2, T, S, S, 3)` uint8 RGB, real then forged; the T crops are one face track's, in order.
    """
    face = moving_portrait(portrait, frames, rng)
    real, forged = forged_clip(forger, family, portrait, face, rng)
    how = draw_degradation(rng)
    boxes = placed_boxes(face.boxes_xyxy, how, rng)
    return np.stack([filmed_crops(clip, face.boxes_xyxy, boxes, how, view) for clip in (real, forged)])


def forged_clip(forger: Forger, family: str, portrait: Portrait, face: MovingFace, rng: np.random.Generator) -> Clips:
    """A real clip and its forgery, `(T, H, W, 3)` uint8 RGB each, before any history.

    Self-blended clips carry their own mask through time. Swaps and redrawn faces are made frame by frame: by equal
    choices (source, network, mask), of landmarks and a strength that tremble.
    """
    if family == "self_blend":
        pair = self_blend_clip(face, rng)
        return pair.real, pair.forged
    choices = int(rng.integers(2**31))
    source = similar_face(portrait, forger.portraits, rng) if family == "face_swap" else None
    strengths = np.clip(1 - FAINTER * np.abs(walk(len(face.frames), rng)), 0, 1).astype(np.float32)
    clips: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
    for t, strength in enumerate(strengths):
        frame, again = _trembling(portrait, face, t, rng), np.random.default_rng(choices)
        pair_t = swap_faces(frame, source, again) if source else forger.forge(family, frame, again)
        clips.append((pair_t.real, _fainter(pair_t, strength)))
    real, forged = zip(*clips, strict=True)
    return np.stack(real), np.stack(forged)


def placed_boxes(
    boxes_xyxy: NDArray[np.float32], how: Degradation, rng: np.random.Generator
) -> tuple[Degradation, ...]:
    """The history of each frame: that of the clip, with an error of the face box that trembles around the clip's."""
    return tuple(
        replace(
            how,
            noise_seed=how.noise_seed + t,
            shift_xy=(how.shift_xy[0] + rng.normal(0, BOX_SHIFT), how.shift_xy[1] + rng.normal(0, BOX_SHIFT)),
            scale=how.scale * float(np.exp(rng.normal(0, BOX_SCALE))),
        )
        for t in range(len(boxes_xyxy))
    )


def filmed_crops(
    clip: NDArray[np.uint8],
    boxes_xyxy: NDArray[np.float32],
    histories: tuple[Degradation, ...],
    how: Degradation,
    view: View,
) -> NDArray[np.uint8]:
    """Take a clip through one history and crop its face as the service does.

    Args:
        clip: `(T, H, W, 3)` uint8 RGB.
        boxes_xyxy: `(T, 4)` the face, in pixels of `clip`.
        histories: of each frame, from `placed_boxes`.
        how: of the clip.
        view: how crops are cut.

    Returns:
        `(T, S, S, 3)` uint8 RGB.
    """
    side = float(np.median(np.max(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)))
    scale = how.face_side / side if how.face_side else 1.0
    frames = np.stack([filmed(rgb, history, scale) for rgb, history in zip(clip, histories, strict=True)])
    if how.crf:
        frames = h264_stream(frames, how.crf)
    crops = np.stack(
        [
            face_crop(rgb, misplaced(box * np.float32(scale), history), view.margin, view.size)
            for rgb, box, history in zip(frames, boxes_xyxy, histories, strict=True)
        ]
    )
    return np.ascontiguousarray(crops[:, :, ::-1]) if how.flip else crops


def _trembling(portrait: Portrait, face: MovingFace, t: int, rng: np.random.Generator) -> Portrait:
    """One frame as the forger sees it; named after the portrait, so that nobody is swapped with themselves."""
    error = LANDMARK_ERROR * eye_distance(portrait) * rng.standard_normal((5, 2))
    shift = np.tile(error.mean(axis=0), 2).astype(np.float32)
    points = (face.points[t] + error).astype(np.float32)
    return Portrait(portrait.name, face.frames[t], face.boxes_xyxy[t] + shift, points)


def _fainter(pair: Pair, strength: np.float32) -> NDArray[np.uint8]:
    return blend(pair.forged, pair.real, np.full(pair.mask.shape, strength, np.float32))
