"""Self-blended clips: the forgery of `self_blend` carried through time, as a face-swapping program leaves it.

The mask rides on the moving face; colour, place and strength of the blend wander smoothly and flicker a little from
frame to frame, as methods do that forge each frame anew (the cue of Haliassos et al., "Lips Don't Lie", CVPR 2021, and
Zheng et al., "Exploring Temporal Coherence", ICCV 2021). Traces: those of `self_blend`, and inside the mask a light,
place and strength that change while the surroundings do not.

Used in training; the picture family kept out is an architecture of `reconstruct_net`.

The camera's own history is shared: both clips have the same movement, and where the target's statistics are changed,
the change wanders and flickers in the real clip as well, so that flicker of the whole picture does not say "fake".
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.forgeries.face_swap import similarity
from training.forgeries.self_blend import (
    ANCHORS,
    FAINTEST,
    TRIES,
    Colour,
    Geometry,
    blend,
    blend_mask,
    change_colour,
    change_sharpness,
    draw_colour,
    draw_geometry,
    draw_sharpness,
    shift_geometry,
)
from training.portraits import Portrait

FLICKER = 0.25  # of a walk's spread: what is drawn anew in each frame
SLOWNESS = 6  # frames over which a walk turns: a quarter of a second
# Spread over a clip of what wanders, about a quarter of the range that `self_blend` draws from.
LEVELS, HUE, FACTOR = 3.0, 0.8, 0.03  # grey levels, half degrees, share
DEGREES, SHIFT = 0.4, 0.012  # and share of the distance between the eyes
STRENGTH = 0.06  # of the mask
# The head in front of the camera: degrees, share of its size, share of the picture's side.
HEAD_DEGREES, HEAD_SCALE, HEAD_SHIFT = 2.0, 0.03, 0.025
WIDE, CHIN = 2.04, 1.73  # the box's width and lower edge below the eyes, in eye distances: `self_blend.JAW`


@dataclass(frozen=True, slots=True)
class MovingFace:
    """A real clip with its face.

    Attributes:
        frames: `(T, H, W, 3)` uint8 RGB.
        boxes_xyxy: `(T, 4)` float32, the face in pixels.
        points: `(T, 5, 2)` float32, landmarks in the order of `Portrait`.
    """

    frames: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    points: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ClipPair:
    """A real clip and its forgery, equal wherever the mask is 0.

    Attributes:
        real: `(T, H, W, 3)` uint8 RGB.
        forged: as `real`.
        masks: `(T, H, W)` float32 in [0, 1].
    """

    real: NDArray[np.uint8]
    forged: NDArray[np.uint8]
    masks: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Course:
    """How one forgery goes through a clip; every tuple has one entry per frame.

    Attributes:
        colours: of the changed copy, or of the target.
        places: of the copy.
        strengths: factor on the mask, in [0, 1].
    """

    colours: tuple[Colour, ...]
    places: tuple[Geometry, ...]
    strengths: tuple[float, ...]


def self_blend_clip(face: MovingFace, rng: np.random.Generator) -> ClipPair:
    """Forge one clip.

    Args:
        face: a real clip, from `moving_portrait` or `face_in_clip`; not modified.
        rng: every random choice comes from it, so equal seeds give equal pairs.
    """
    mask = blend_mask(_first_portrait(face), rng)
    for _ in range(TRIES):
        pair = _forged(face, mask, rng)
        shown = pair.masks > 0.1  # noqa: PLR2004 - where the copy shows at all
        if shown.any() and np.abs(pair.forged[shown].astype(np.int16) - pair.real[shown]).mean() >= FAINTEST:
            break
    return pair


def moving_portrait(portrait: Portrait, count: int, rng: np.random.Generator) -> MovingFace:
    """A clip of `count` frames in which one portrait moves, turns and comes closer by a little, smoothly."""
    height, width = portrait.rgb.shape[:2]
    turns, scales, xs, ys = (walk(count, rng, flicker=0) for _ in range(4))
    frames, points = [], []
    for turn, scale, x, y in zip(turns, scales, xs, ys, strict=True):
        centre = (float(portrait.points[:, 0].mean()), float(portrait.points[:, 1].mean()))
        matrix = np.asarray(
            cv2.getRotationMatrix2D(centre, HEAD_DEGREES * turn, np.exp(HEAD_SCALE * scale)), np.float64
        )
        matrix[:, 2] += HEAD_SHIFT * np.array([x * width, y * height])
        frames.append(
            cv2.warpAffine(
                portrait.rgb, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
            ).astype(np.uint8, copy=False)
        )
        points.append(_moved(portrait.points, matrix))
    placed = np.stack(points)
    return MovingFace(np.stack(frames), _boxes_along(portrait, placed), placed)


def face_in_clip(frames: NDArray[np.uint8], boxes_xyxy: NDArray[np.float32]) -> MovingFace:
    """A real clip whose landmarks are not known: the drawn face is put upright into each box.

    Args:
        frames: `(T, H, W, 3)` uint8 RGB.
        boxes_xyxy: `(T, 4)` the face in every frame, ear to ear and brows to chin.
    """
    eyes = (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) / WIDE
    origin = np.stack([(boxes_xyxy[:, 0] + boxes_xyxy[:, 2]) / 2, boxes_xyxy[:, 3] - CHIN * eyes], axis=1)
    points = origin[:, None] + eyes[:, None, None] * ANCHORS
    return MovingFace(frames, boxes_xyxy.astype(np.float32), points.astype(np.float32))


def walk(count: int, rng: np.random.Generator, flicker: float = FLICKER) -> NDArray[np.float64]:
    """`(count,)` smooth noise of spread 1 over all clips, with a share of it drawn anew in every frame."""
    reach = 3 * SLOWNESS
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SLOWNESS) ** 2)
    smooth = np.convolve(rng.standard_normal(count + 2 * reach), kernel / np.linalg.norm(kernel), mode="valid")
    return smooth + flicker * rng.standard_normal(count)


def draw_course(count: int, rng: np.random.Generator) -> Course:
    """One colour, one place and full strength, each nudged along walks of its own."""
    colour, place = draw_colour(rng), draw_geometry(rng)
    levels, hues, saturations, contrasts, turns, scales, xs, ys, faint = (walk(count, rng) for _ in range(9))
    return Course(
        colours=tuple(
            replace(
                colour,
                hue=colour.hue + HUE * hues[t],
                saturation=colour.saturation * (1 + FACTOR * saturations[t]),
                contrast=colour.contrast * (1 + FACTOR * contrasts[t]),
                brightness=colour.brightness + LEVELS * levels[t],
            )
            for t in range(count)
        ),
        places=tuple(
            Geometry(
                degrees=place.degrees + DEGREES * turns[t],
                scale=place.scale * (1 + 0.2 * FACTOR * scales[t]),
                shift_xy=(place.shift_xy[0] + SHIFT * xs[t], place.shift_xy[1] + SHIFT * ys[t]),
            )
            for t in range(count)
        ),
        strengths=tuple(float(v) for v in np.clip(1 - STRENGTH * np.abs(faint), 0, 1)),
    )


def _forged(face: MovingFace, mask: NDArray[np.float32], rng: np.random.Generator) -> ClipPair:
    course, sharpness = draw_course(len(face.frames), rng), draw_sharpness(rng)
    changes_source = rng.random() < 0.5  # noqa: PLR2004 - a fair coin
    real, forged, masks = [], [], []
    for t, frame in enumerate(face.frames):
        changed = change_sharpness(change_colour(frame, course.colours[t]), sharpness)
        source, target = (changed, frame) if changes_source else (frame, changed)
        centre = (float(face.points[t, :, 0].mean()), float(face.points[t, :, 1].mean()))
        source = shift_geometry(source, course.places[t], _eyes_apart(face.points[t]), centre)
        masks.append(_followed(mask, face.points[0], face.points[t]) * np.float32(course.strengths[t]))
        real.append(target)
        forged.append(blend(source, target, masks[-1]))
    return ClipPair(np.stack(real), np.stack(forged), np.stack(masks))


def _followed(
    mask: NDArray[np.float32], from_points: NDArray[np.float32], to_points: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The first frame's mask where the face has gone."""
    size_wh = (mask.shape[1], mask.shape[0])
    moved = cv2.warpAffine(mask, similarity(from_points, to_points), size_wh, flags=cv2.INTER_LINEAR)
    return moved.astype(np.float32, copy=False)


def _first_portrait(face: MovingFace) -> Portrait:
    return Portrait("first frame", face.frames[0], face.boxes_xyxy[0], face.points[0])


def _moved(points: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def _boxes_along(portrait: Portrait, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The portrait's box, moved and scaled with the landmarks but upright, as a face finder draws it."""
    centre, half = (portrait.box_xyxy[:2] + portrait.box_xyxy[2:]) / 2, np.diff(portrait.box_xyxy.reshape(2, 2), axis=0)
    boxes = []
    for now in points:
        affine = similarity(portrait.points, now)
        grown = half[0] / 2 * np.hypot(affine[0, 0], affine[1, 0])
        middle = affine[:, :2] @ centre + affine[:, 2]
        boxes.append(np.concatenate([middle - grown, middle + grown]))
    return np.stack(boxes).astype(np.float32)


def _eyes_apart(points: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(points[1] - points[0]))
