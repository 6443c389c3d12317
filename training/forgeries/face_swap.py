"""Forgeries from two people: one's face warped by its landmarks onto the other's and blended in.

The classical swap (FaceSwap of M. Kowalski, 2016, one of FaceForensics++' four manipulations; also `dlib` and OpenCV
tutorials), from five landmarks and the drawn face of `self_blend`. Traces: the edge of the mask, a face whose light,
grain and skin differ from the neck's, features that do not meet the outline, and with Poisson blending (Perez,
Gangnet and Blake, "Poisson Image Editing", SIGGRAPH 2003) colours of the rim that bleed into the face.

Used in training; the picture family kept out is an architecture of `reconstruct_net`.

Softness: the warp interpolates, so the layer's sharpness is matched to the picture's before blending. Of 200 pairs of
the training portraits, degraded alike, the swaps' Laplacian variance is 1.05 times the reals'; alone it has an AUC
of .49.
"""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from training.forgeries.matching import match_colour, match_sharpness
from training.forgeries.self_blend import ANCHORS, BROWS, JAW, Pair, blend, eye_distance, fit_to_face, region_mask
from training.portraits import Portrait

REGIONS = ("face", "face_and_forehead", "inner_face")
CANDIDATES = 8  # faces looked at for one that fits
PIECEWISE = 0.5  # share warped triangle by triangle; the others are only moved, turned and scaled
POISSON = 0.5  # share blended in the gradient's domain
_OUTLINE = np.concatenate([JAW, BROWS - [0.0, 0.45]])
_CENTRE = np.array([0.0, 0.5])  # of the drawn face
# The last ring is far out, so that every mask lies within the triangles.
CONTROL = np.concatenate([ANCHORS, _OUTLINE, _CENTRE + 1.8 * (_OUTLINE - _CENTRE)])

_Maps = tuple[NDArray[np.float32], NDArray[np.float32]]


def swap_faces(target: Portrait, source: Portrait, rng: np.random.Generator) -> Pair:
    """Put the source's face onto the target.

    Args:
        target: the picture that is kept; not modified.
        source: another person.
        rng: every random choice comes from it, so equal seeds give equal pairs.
    """
    mask = region_mask(target, str(rng.choice(REGIONS)), rng)
    warp = piecewise_maps if rng.random() < PIECEWISE else similarity_maps
    map_x, map_y = warp(target.points, source.points, target.rgb.shape[:2])
    shrinking = eye_distance(source) / eye_distance(target)
    layer = cv2.remap(
        _prefiltered(source.rgb, shrinking), map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    ).astype(np.uint8, copy=False)
    layer = match_sharpness(match_colour(layer, target.rgb, mask), target.rgb, mask)
    if rng.random() < POISSON:
        mask = _clear_of_edges(mask)
        layer = poisson(layer, target.rgb, mask)
    return Pair(target.rgb, blend(layer, target.rgb, mask), mask)


def similar_face(target: Portrait, others: Sequence[Portrait], rng: np.random.Generator) -> Portrait:
    """Of a few random others, never the target, the one whose pose and skin come closest: forgers choose, too."""
    picks = [others[int(i)] for i in rng.permutation(len(others))[: CANDIDATES + 1]]
    strangers = [face for face in picks if face.name != target.name]
    return strangers[int(np.argmin([_unlikeness(target, face) for face in strangers]))]


def similarity(from_points: NDArray[np.float32], to_points: NDArray[np.float32]) -> NDArray[np.float64]:
    """The `(2, 3)` turn, scale and shift that takes `(K, 2)` points closest to others, by least squares."""
    x, y = from_points.astype(np.float64).T
    ones, zeros = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    (a, b, dx, dy), *_ = np.linalg.lstsq(rows, to_points.astype(np.float64).T.ravel(), rcond=None)
    return np.array([[a, -b, dx], [b, a, dy]])


def similarity_maps(
    target_points: NDArray[np.float32], source_points: NDArray[np.float32], size_hw: tuple[int, ...]
) -> _Maps:
    """Where each pixel of the target comes from in the source: maps for `cv2.remap`, `(H, W)` float32 each."""
    return _mapped(similarity(target_points, source_points), size_hw)


def piecewise_maps(
    target_points: NDArray[np.float32], source_points: NDArray[np.float32], size_hw: tuple[int, ...]
) -> _Maps:
    """As `similarity_maps`, with an affine map of its own for each triangle: eyes, nose and mouth meet exactly."""
    target, source = (_controls(points) for points in (target_points, source_points))
    map_x, map_y = similarity_maps(target_points, source_points, size_hw)
    for corners in map(list, triangles()):
        affine = cv2.getAffineTransform(target[corners], source[corners])
        inside = np.zeros(size_hw, np.uint8)
        cv2.fillConvexPoly(inside, np.rint(target[corners]).astype(np.int32), 1)
        ys, xs = np.nonzero(inside)
        map_x[ys, xs] = affine[0, 0] * xs + affine[0, 1] * ys + affine[0, 2]
        map_y[ys, xs] = affine[1, 0] * xs + affine[1, 1] * ys + affine[1, 2]
    return map_x, map_y


@lru_cache(maxsize=1)
def triangles() -> tuple[tuple[int, int, int], ...]:
    """Delaunay triangles of the drawn face as indices into `CONTROL`."""
    points = (CONTROL * 100 + 1000).astype(np.float32)
    plane = cv2.Subdiv2D((0, 0, 2000, 2000))
    plane.insert([(float(x), float(y)) for x, y in points])
    corners = np.asarray(plane.getTriangleList()).reshape(-1, 3, 2)
    nearest = np.linalg.norm(corners[:, :, None] - points, axis=-1).argmin(axis=-1)
    return tuple((int(a), int(b), int(c)) for a, b, c in nearest)


def poisson(layer: NDArray[np.uint8], picture: NDArray[np.uint8], mask: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The picture with the layer's gradients where the mask is above 0; `(H, W, 3)` uint8 RGB in and out.

    The mask must not touch the picture's edge: the rim is what the colours are taken from.
    """
    hard = (mask > 0).astype(np.uint8) * 255
    x, y, width, height = cv2.boundingRect(hard)
    if not (width and height):
        return picture
    centre = (x + width // 2, y + height // 2)  # where the mask lies already: nothing is moved
    return cv2.seamlessClone(layer, picture, hard, centre, cv2.NORMAL_CLONE).astype(np.uint8, copy=False)


def _controls(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(K, 2)` control points of one face: its own five, then the drawn outline fitted to them."""
    fitted = fit_to_face(CONTROL, points)
    fitted[: len(points)] = points
    return fitted.astype(np.float32)


def _mapped(affine: NDArray[np.float64], size_hw: tuple[int, ...]) -> _Maps:
    ys, xs = np.mgrid[0 : size_hw[0], 0 : size_hw[1]].astype(np.float64)
    map_x, map_y = (row[0] * xs + row[1] * ys + row[2] for row in affine)
    return map_x.astype(np.float32), map_y.astype(np.float32)


def _prefiltered(rgb: NDArray[np.uint8], shrinking: float) -> NDArray[np.uint8]:
    """Blurred by what a shrinking warp would else fold into false detail."""
    if shrinking <= 1:
        return rgb
    return cv2.GaussianBlur(rgb, (0, 0), 0.5 * shrinking).astype(np.uint8, copy=False)


def _clear_of_edges(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    clear = np.zeros_like(mask)
    clear[3:-3, 3:-3] = mask[3:-3, 3:-3]
    return clear


def _unlikeness(target: Portrait, face: Portrait) -> float:
    """Distance of the landmarks after the best fit, in eye distances, plus that of the skin, in 20 levels of Lab."""
    affine = similarity(face.points, target.points)
    moved = face.points @ affine[:, :2].T + affine[:, 2]
    shape = float(np.linalg.norm(moved - target.points, axis=1).mean()) / eye_distance(target)
    return shape + float(np.linalg.norm(_skin_lab(face) - _skin_lab(target))) / 20


def _skin_lab(face: Portrait) -> NDArray[np.float32]:
    """Mean colour between eyes and mouth."""
    x0, y0 = np.maximum(face.points.min(axis=0), 0).astype(int)
    x1, y1 = np.ceil(face.points.max(axis=0)).astype(int) + 1
    patch = face.rgb[y0:y1, x0:x1].reshape(1, -1, 3).astype(np.float32) / 255
    mean: NDArray[np.float32] = cv2.cvtColor(patch, cv2.COLOR_RGB2LAB).mean(axis=(0, 1))
    return mean
