"""What happens to pictures between a camera and this service, done alike to a real face and its forgery.

Without it a detector learns softness: portraits are sharp, faces in video are shrunk, compressed and soft, and
"soft" would come to mean "fake". So both pictures of a pair get the same degradation, drawn once.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from models.faces.crop import face_crop, resize

RESAMPLINGS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)
SMALLEST_FACE, LARGEST_FACE = 36, 240  # px of face box in the imagined video


@dataclass(frozen=True, slots=True)
class Degradation:
    """One drawn history of a picture; the defaults leave it as it is. Lengths are pixels of the imagined video.

    Attributes:
        face_side: what the longer side of the face box becomes when the picture enters the video; 0 leaves it.
        gamma: exponent on [0, 1] values.
        contrast: factor around mid grey.
        brightness: grey levels added.
        gains: factor of each channel, the white balance.
        blur: sigma of the lens.
        motion: length of the motion blur; `motion_angle` in radians.
        noise: sigma in grey levels; `noise_seed` makes both of a pair alike.
        sharpen: unsharp-mask amount.
        soften: factor by which the picture is shrunk and enlarged again; 1 is none.
        jpeg: quality, 0 is none.
        crf: H.264 constant rate factor, 0 is none.
        frames: pictures in the H.264 stream; the last one is kept, so 2 and 3 give a predicted one.
        drift_xy: movement between those pictures.
        flip: mirror left and right.
        shift_xy: error of the face box's centre, as a share of its side.
        scale: error of the face box's side, a factor.
        resampling: OpenCV's code for entering the video.
    """

    face_side: float = 0
    gamma: float = 1
    contrast: float = 1
    brightness: float = 0
    gains: tuple[float, float, float] = (1, 1, 1)
    blur: float = 0
    motion: float = 0
    motion_angle: float = 0
    noise: float = 0
    noise_seed: int = 0
    sharpen: float = 0
    soften: float = 1
    jpeg: int = 0
    crf: int = 0
    frames: int = 1
    drift_xy: tuple[int, int] = (0, 0)
    flip: bool = False
    shift_xy: tuple[float, float] = (0, 0)
    scale: float = 1
    resampling: int = cv2.INTER_LINEAR


def draw_degradation(rng: np.random.Generator) -> Degradation:
    """A random history; about one in eight is left clean apart from the face box's error."""
    base = draw_framing(rng)
    if rng.random() < 0.12:  # noqa: PLR2004
        return base
    return replace(
        base,
        face_side=float(np.exp(rng.uniform(np.log(SMALLEST_FACE), np.log(LARGEST_FACE)))) * _coin(rng, 0.8),
        gamma=float(np.exp(rng.normal(0, 0.18))),
        contrast=rng.uniform(0.75, 1.2),
        brightness=rng.uniform(-22, 22),
        gains=(rng.uniform(0.9, 1.1), rng.uniform(0.94, 1.06), rng.uniform(0.88, 1.12)),
        blur=rng.uniform(0.3, 2.2) * _coin(rng, 0.35),
        motion=rng.uniform(2, 7) * _coin(rng, 0.12),
        motion_angle=rng.uniform(0, np.pi),
        noise=rng.uniform(1, 9) * _coin(rng, 0.35),
        noise_seed=int(rng.integers(2**31)),
        sharpen=rng.uniform(0.3, 1.6) * _coin(rng, 0.25),
        soften=rng.uniform(1.2, 3.2) if _coin(rng, 0.25) else 1,
        jpeg=int(rng.integers(28, 96)) * _coin(rng, 0.35),
        crf=int(rng.integers(17, 41)) * _coin(rng, 0.5),
        frames=int(rng.integers(1, 4)),
        drift_xy=(int(rng.integers(-3, 4)), int(rng.integers(-3, 4))),
        resampling=int(rng.choice(RESAMPLINGS)),
    )


def draw_framing(rng: np.random.Generator) -> Degradation:
    """Only what the face finder and the mirror do: a box that is off by about a tenth."""
    return Degradation(
        flip=bool(_coin(rng, 0.5)),
        shift_xy=(rng.normal(0, 0.05), rng.normal(0, 0.05)),
        scale=float(np.exp(rng.normal(0, 0.08))),
    )


def degrade(
    rgb: NDArray[np.uint8], box_xyxy: NDArray[np.float32], how: Degradation, margin: float, size: int
) -> NDArray[np.uint8]:
    """Take a picture through one history and crop the face as the service does.

    Args:
        rgb: `(H, W, 3)` uint8 RGB.
        box_xyxy: `(4,)` the face, in pixels of `rgb`.
        how: the history; the same for both of a pair.
        margin: the view's.
        size: the view's, pixels.

    Returns:
        `(size, size, 3)` uint8 RGB.
    """
    scale = how.face_side / float(np.max(box_xyxy[2:] - box_xyxy[:2])) if how.face_side else 1.0
    picture = filmed(rgb, how, scale)
    if how.crf:
        picture = through_h264(picture, how.crf, how.frames, how.drift_xy)
    crop = face_crop(picture, misplaced(box_xyxy * np.float32(scale), how), margin, size)
    return np.ascontiguousarray(crop[:, ::-1]) if how.flip else crop


def filmed(rgb: NDArray[np.uint8], how: Degradation, scale: float) -> NDArray[np.uint8]:
    """All of a history that comes before H.264, on a picture that is made `scale` times as large."""
    picture = _resized(coloured(rgb, how), scale, how.resampling)
    picture = noisy(sharpened(blurred(picture, how), how), how)
    picture = _softened(picture, how.soften)
    return through_jpeg(picture, how.jpeg) if how.jpeg else picture


def coloured(rgb: NDArray[np.uint8], how: Degradation) -> NDArray[np.uint8]:
    """Gamma, contrast, brightness and white balance through one table per channel."""
    levels = 255 * (np.arange(256) / 255) ** how.gamma
    levels = (levels - 128) * how.contrast + 128 + how.brightness
    table = np.clip(np.rint(levels[:, None] * np.array(how.gains)), 0, 255).astype(np.uint8)
    return cv2.LUT(rgb, table[None]).astype(np.uint8, copy=False)


def blurred(rgb: NDArray[np.uint8], how: Degradation) -> NDArray[np.uint8]:
    """Lens blur, then motion blur along a line."""
    if how.blur:
        rgb = cv2.GaussianBlur(rgb, (0, 0), how.blur).astype(np.uint8, copy=False)
    if how.motion:
        rgb = cv2.filter2D(rgb, -1, _line(how.motion, how.motion_angle)).astype(np.uint8, copy=False)
    return rgb


def sharpened(rgb: NDArray[np.uint8], how: Degradation) -> NDArray[np.uint8]:
    """Unsharp mask, as cameras and platforms apply it."""
    if not how.sharpen:
        return rgb
    soft = cv2.GaussianBlur(rgb, (0, 0), 1.0)
    return cv2.addWeighted(rgb, 1 + how.sharpen, soft, -how.sharpen, 0).astype(np.uint8, copy=False)


def noisy(rgb: NDArray[np.uint8], how: Degradation) -> NDArray[np.uint8]:
    """Sensor noise, the same for equal seeds and sizes."""
    if not how.noise:
        return rgb
    grain = np.random.default_rng(how.noise_seed).standard_normal(rgb.shape, np.float32)
    return np.clip(np.rint(rgb + how.noise * grain), 0, 255).astype(np.uint8)


def through_jpeg(rgb: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Encode and decode as JPEG with 4:2:0 colour."""
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB), np.uint8)


def through_h264(
    rgb: NDArray[np.uint8], crf: int, frames: int = 1, drift_xy: tuple[int, int] = (0, 0)
) -> NDArray[np.uint8]:
    """Encode and decode as H.264, in memory.

    Args:
        rgb: `(H, W, 3)` uint8 RGB.
        crf: constant rate factor, 0 (lossless) to 51.
        frames: length of the stream; its last picture is `rgb`, those before are `rgb` moved by `drift_xy` px each.
        drift_xy: see `frames`.

    Returns:
        The last picture as decoded, `(H, W, 3)` uint8 RGB.
    """
    height, width = rgb.shape[:2]
    even = _even_sided(rgb[None])[0]  # before it moves, so that what comes in at one edge went out at the other
    moved = [np.roll(even, (back * drift_xy[1], back * drift_xy[0]), axis=(0, 1)) for back in range(frames - 1, 0, -1)]
    return h264_stream(np.stack([*moved, even]), crf)[-1, :height, :width]


def h264_stream(frames_thwc: NDArray[np.uint8], crf: int) -> NDArray[np.uint8]:
    """Encode and decode a clip as one H.264 stream, in memory; all frames but the first are predicted.

    Args:
        frames_thwc: `(T, H, W, 3)` uint8 RGB.
        crf: constant rate factor, 0 (lossless) to 51.

    Returns:
        As `frames_thwc`.
    """
    height, width = frames_thwc.shape[1:3]
    even = _even_sided(frames_thwc)
    encoder = VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = even.shape[2], even.shape[1], "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency"}
    packets = []
    for t, rgb in enumerate(even):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts = t
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = VideoCodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    shown = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
    return shown[:, :height, :width].astype(np.uint8, copy=False)


def misplaced(box_xyxy: NDArray[np.float32], how: Degradation) -> NDArray[np.float32]:
    """The box `(4,)` as a face finder draws it: a little off, by `shift_xy` and `scale`."""
    centre, half = (box_xyxy[2:] + box_xyxy[:2]) / 2, (box_xyxy[2:] - box_xyxy[:2]) / 2
    centre = centre + 2 * half * np.array(how.shift_xy)
    return np.concatenate([centre - half * how.scale, centre + half * how.scale]).astype(np.float32)


def _even_sided(frames_thwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """4:2:0 needs even sides."""
    height, width = frames_thwc.shape[1:3]
    return np.pad(frames_thwc, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _coin(rng: np.random.Generator, odds: float) -> int:
    return int(rng.random() < odds)


def _resized(rgb: NDArray[np.uint8], scale: float, resampling: int) -> NDArray[np.uint8]:
    if scale == 1:
        return rgb
    size_wh = (max(8, round(rgb.shape[1] * scale)), max(8, round(rgb.shape[0] * scale)))
    return cv2.resize(rgb, size_wh, interpolation=resampling).astype(np.uint8, copy=False)


def _softened(rgb: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    if factor == 1:
        return rgb
    height, width = rgb.shape[:2]
    return resize(resize(rgb, (max(8, round(width / factor)), max(8, round(height / factor)))), (width, height))


def _line(length: float, angle: float) -> NDArray[np.float32]:
    side = 2 * round(length / 2) + 1
    kernel = np.zeros((side, side), np.float32)
    centre, reach = side // 2, length / 2
    start = (round(centre - reach * np.cos(angle)), round(centre - reach * np.sin(angle)))
    end = (round(centre + reach * np.cos(angle)), round(centre + reach * np.sin(angle)))
    cv2.line(kernel, start, end, 1.0)
    return kernel / np.float32(kernel.sum())
