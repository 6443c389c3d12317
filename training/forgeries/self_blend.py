"""Forgeries from one real picture: a changed copy of the face, blended back onto itself.

Method: Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022. Their masks come from 68
landmarks; ours from a drawn face fitted to five, since the 68-point file may not be used commercially.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.portraits import Portrait

# The drawn face, in units of the distance between the eyes, origin between them, x to the picture's right.
# Measured on the portraits: eyes, nose and mouth are their mean; chin and ears the mean edge of the face box.
ANCHORS = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.59], [-0.44, 0.98], [0.44, 0.98]])
_ANGLES = np.linspace(0, np.pi, 13)
JAW = np.stack([-1.02 * np.cos(_ANGLES), 0.05 + 1.68 * np.sin(_ANGLES) ** 0.9], axis=1)
BROWS = np.array([[-0.9, -0.32], [-0.5, -0.5], [-0.15, -0.42], [0.15, -0.42], [0.5, -0.5], [0.9, -0.32]])
REGIONS = {
    "face": np.concatenate([JAW, BROWS]),
    "face_and_forehead": np.concatenate([JAW, BROWS - [0.0, 0.45]]),
    "inner_face": np.concatenate([BROWS, [[-0.85, 0.4], [-0.65, 1.25], [0.0, 1.45], [0.65, 1.25], [0.85, 0.4]]]),
    "lower_face": np.concatenate([JAW[3:10], [[-0.8, 0.55], [0.0, 0.3], [0.8, 0.55]]]),
    "eyes": np.concatenate([BROWS, [[-0.9, 0.15], [-0.4, 0.32], [0.4, 0.32], [0.9, 0.15]]]),
    "mouth": np.array([[-0.7, 0.98], [-0.4, 0.72], [0.4, 0.72], [0.7, 0.98], [0.4, 1.35], [-0.4, 1.35]]),
}
REGION_ODDS = (0.3, 0.2, 0.2, 0.12, 0.08, 0.1)

SHIFTED = 0.6  # share of colour changes that move the channels apart
BLEND_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # the paper's
FAINTEST = 1.5  # grey levels of mean change inside the mask; below, the label "fake" would be a lie
TRIES = 4
RESAMPLINGS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)


@dataclass(frozen=True, slots=True)
class Colour:
    """A drawn change of colour: grey levels per channel, hue in OpenCV's half degrees, factors, grey levels."""

    shifts_rgb: tuple[float, float, float]
    hue: float
    saturation: float
    contrast: float
    brightness: float


@dataclass(frozen=True, slots=True)
class Sharpness:
    """A drawn change of sharpness.

    Attributes:
        kind: `resample`, `blur`, `sharpen`, `jpeg` or `nothing`.
        amount: factor of the shrinking, sigma in px, share of the unsharp mask, or quality.
        sigma: of the unsharp mask, px.
        down: OpenCV's code for shrinking.
        up: and for enlarging again.
    """

    kind: str
    amount: float = 0
    sigma: float = 1
    down: int = cv2.INTER_LINEAR
    up: int = cv2.INTER_LINEAR


@dataclass(frozen=True, slots=True)
class Geometry:
    """A drawn movement: degrees, factor, and a shift as a share of the distance between the eyes."""

    degrees: float
    scale: float
    shift_xy: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """A real picture and its forgery, equal wherever the mask is 0.

    Attributes:
        real: `(H, W, 3)` uint8 RGB.
        forged: as `real`.
        mask: `(H, W)` float32 in [0, 1], the share of the changed copy in `forged`.
    """

    real: NDArray[np.uint8]
    forged: NDArray[np.uint8]
    mask: NDArray[np.float32]


def self_blend(portrait: Portrait, rng: np.random.Generator) -> Pair:
    """Forge one portrait.

    The paper changes the statistics of the inner or of the outer face. Where the outer is changed, the change
    goes to the returned real picture as well, so that only the blend tells the two apart.

    Args:
        portrait: a real face; not modified.
        rng: every random choice comes from it, so equal seeds give equal pairs.
    """
    mask = blend_mask(portrait, rng)
    for _ in range(TRIES):
        source = target = portrait.rgb
        if rng.random() < 0.5:  # noqa: PLR2004 - a fair coin
            source = change_statistics(source, rng)
        else:
            target = change_statistics(target, rng)
        source = shift_geometry(source, draw_geometry(rng), eye_distance(portrait))
        forged = blend(source, target, mask)
        if _change_inside(forged, target, mask) >= FAINTEST:
            break
    return Pair(target, forged, mask)


def blend(source: NDArray[np.uint8], target: NDArray[np.uint8], mask: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`source` where the mask is 1, `target` where it is 0; `(H, W, 3)` uint8 RGB and `(H, W)` float32."""
    share = mask[..., None]
    mixed = target + share * (source.astype(np.float32) - target)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def blend_mask(portrait: Portrait, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random soft mask over a part of the face, as strong as the paper's blend ratios, `(H, W)` float32 in [0, 1]."""
    mask = region_mask(portrait, rng.choice(list(REGIONS), p=REGION_ODDS), rng)
    ratio = float(rng.choice(BLEND_RATIOS))
    return mask * np.float32(ratio)


def region_mask(portrait: Portrait, region: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random soft mask over one of `REGIONS`, `(H, W)` float32, 1 in its middle."""
    eyes = eye_distance(portrait)
    outline = REGIONS[region]
    outline = fit_to_face(outline + rng.normal(0, 0.05, outline.shape), portrait.points)
    hull = cv2.convexHull(np.rint(outline).astype(np.int32))
    mask = np.zeros(portrait.rgb.shape[:2], np.float32)
    cv2.fillConvexPoly(mask, hull, 1.0)
    mask = deform(mask, amplitude=0.08 * eyes, smoothness=0.25 * eyes, rng=rng)
    # The paper blurs, cuts and blurs again: the second cut moves the edge inwards, the blur sets its width.
    mask = _blurred(mask, eyes * rng.uniform(0.02, 0.12))
    mask = np.where(mask > rng.uniform(0.2, 0.8), 1, 0).astype(np.float32)
    return _blurred(mask, eyes * rng.uniform(0.01, 0.16))


def eye_distance(portrait: Portrait) -> float:
    """Pixels between the eyes."""
    return float(np.linalg.norm(portrait.points[1] - portrait.points[0]))


def fit_to_face(outline: NDArray[np.float64], points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Move `(K, 2)` points of the drawn face onto a real one by the best affine map of its five landmarks."""
    drawn = np.column_stack([ANCHORS, np.ones(len(ANCHORS))])
    affine, *_ = np.linalg.lstsq(drawn, points.astype(np.float64), rcond=None)
    fitted: NDArray[np.float64] = np.column_stack([outline, np.ones(len(outline))]) @ affine
    return fitted


def deform(
    image: NDArray[np.float32], amplitude: float, smoothness: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Elastic deformation of `(H, W)`: displacements up to `amplitude` px that vary over `smoothness` px."""
    height, width = image.shape[:2]
    shifts = [_blurred(rng.uniform(-1, 1, (height, width)).astype(np.float32), smoothness) for _ in "xy"]
    shifts = [shift * (amplitude / max(float(np.abs(shift).max()), 1e-6)) for shift in shifts]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    map_x, map_y = (columns + shifts[0]).astype(np.float32), (rows + shifts[1]).astype(np.float32)
    return cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR).astype(np.float32, copy=False)


def change_statistics(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change colour and sharpness of `(H, W, 3)` uint8 RGB, as another camera or a generator would."""
    return change_sharpness(change_colour(image, draw_colour(rng)), draw_sharpness(rng))


def draw_colour(rng: np.random.Generator) -> Colour:
    """Each channel, then hue, saturation, brightness and contrast, all by a little."""
    shifts = rng.uniform(-18, 18, 3).astype(np.float32) * np.float32(rng.random() < SHIFTED)
    return Colour(
        shifts_rgb=(float(shifts[0]), float(shifts[1]), float(shifts[2])),
        hue=rng.uniform(-6, 6),
        saturation=rng.uniform(0.75, 1.3),
        contrast=rng.uniform(0.88, 1.12),
        brightness=rng.uniform(-20, 20),
    )


def change_colour(image: NDArray[np.uint8], how: Colour) -> NDArray[np.uint8]:
    """Apply a drawn change of colour to `(H, W, 3)` uint8 RGB."""
    values = image.astype(np.float32) + np.array(how.shifts_rgb, np.float32)
    hsv = cv2.cvtColor(np.clip(values, 0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + how.hue) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * how.saturation, 0, 255)
    values = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
    values = (values - 128) * how.contrast + 128 + how.brightness
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def draw_sharpness(rng: np.random.Generator) -> Sharpness:
    """One of: shrink and enlarge, blur, sharpen, JPEG, or nothing."""
    kind = str(rng.choice(["resample", "blur", "sharpen", "jpeg", "nothing"], p=[0.35, 0.15, 0.2, 0.1, 0.2]))
    if kind == "resample":
        amount = rng.uniform(1.5, 4.0)
        down, up = (int(v) for v in rng.choice(RESAMPLINGS, 2))
        return Sharpness(kind, amount, down=down, up=up)
    if kind == "blur":
        return Sharpness(kind, rng.uniform(0.5, 1.8))
    if kind == "sharpen":
        sigma = rng.uniform(0.6, 1.5)
        return Sharpness(kind, rng.uniform(0.4, 1.5), sigma)
    if kind == "jpeg":
        return Sharpness(kind, int(rng.integers(20, 80)))
    return Sharpness(kind)


def change_sharpness(image: NDArray[np.uint8], how: Sharpness) -> NDArray[np.uint8]:
    """Apply a drawn change of sharpness to `(H, W, 3)` uint8 RGB."""
    if how.kind == "resample":
        return _resampled(image, how)
    if how.kind == "blur":
        return cv2.GaussianBlur(image, (0, 0), how.amount).astype(np.uint8, copy=False)
    if how.kind == "sharpen":
        soft = cv2.GaussianBlur(image, (0, 0), how.sigma)
        return cv2.addWeighted(image, 1 + how.amount, soft, -how.amount, 0).astype(np.uint8, copy=False)
    if how.kind == "jpeg":
        return _recoded(image, int(how.amount))
    return image


def draw_geometry(rng: np.random.Generator) -> Geometry:
    """A shift, turn and scale by a little, so that the copy's features do not quite meet the original."""
    degrees, scale = rng.uniform(-2, 2), rng.uniform(0.96, 1.04)
    x, y = rng.uniform(-0.06, 0.06, 2)
    return Geometry(degrees, scale, (float(x), float(y)))


def shift_geometry(
    image: NDArray[np.uint8], how: Geometry, eye_distance_px: float, centre_xy: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Apply a drawn movement to `(H, W, 3)` uint8 RGB, about its middle unless a centre in px is given."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(centre_xy or (width / 2, height / 2), how.degrees, how.scale)
    shift = np.zeros((2, 3))
    shift[:, 2] = np.array(how.shift_xy) * eye_distance_px
    moved = cv2.warpAffine(
        image, matrix + shift, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return moved.astype(np.uint8, copy=False)


def _recoded(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Through JPEG; red and blue stay swapped for the codec, as they do in a good many pipelines."""
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def _resampled(image: NDArray[np.uint8], how: Sharpness) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    size_wh = (max(8, round(width / how.amount)), max(8, round(height / how.amount)))
    small = cv2.resize(image, size_wh, interpolation=how.down)
    return cv2.resize(small, (width, height), interpolation=how.up).astype(np.uint8, copy=False)


def _blurred(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return cv2.GaussianBlur(image, (0, 0), max(sigma, 0.3)).astype(np.float32, copy=False)


def _change_inside(forged: NDArray[np.uint8], target: NDArray[np.uint8], mask: NDArray[np.float32]) -> float:
    inside = mask > 0.1  # noqa: PLR2004 - where the copy shows at all
    if not inside.any():
        return 0.0
    return float(np.abs(forged[inside].astype(np.int16) - target[inside]).mean())
