"""Make the sample clips: `python assets/make_samples.py`.

Both show NASA's portrait of astronaut Eileen Collins (public domain, ships inside scikit-image) under a hand-held
camera's slow motion, encoded with H.264. In `sample_forged.mp4` her face is replaced by a changed copy of itself, by
the same self-blending that the training forgeries are made with. Nothing else differs. So the clips show the service
at work; they measure nothing.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from training.forgeries.self_blend import Pair, self_blend
from training.portraits import Portrait

FOLDER = Path(__file__).resolve().parent
SECONDS, FPS, WIDTH, HEIGHT = 4, 25, 640, 480
ZOOM = 1.7  # the face is 90 px wide in the portrait, and about 150 px in the clip
NOISE = 1.5  # grey levels, as of a camera's sensor
# Five landmarks and the face box of this one picture, as YuNet and dlib find them.
POINTS = np.array([[203.4, 103.6], [247.5, 104.4], [224.1, 127.7], [204.0, 143.1], [242.9, 143.7]], np.float32)
BOX_XYXY = np.array([176.5, 77.0, 266.0, 166.5], np.float32)
LEAST_CHANGE = 12.0  # mean grey levels inside the mask: a forgery that a careful eye can see
LEAST_AREA = 0.6  # of the face box
LEAST_INSIDE = 0.98  # of the changed area lies in the face box: brows to chin, as a face swap replaces it


def main() -> None:
    """Write both clips."""
    portrait = np.asarray(data.astronaut(), np.uint8)
    for name, picture in (("sample_real.mp4", portrait), ("sample_forged.mp4", forge(portrait))):
        write(FOLDER / name, filmed(picture))
        print(f"{name}: {(FOLDER / name).stat().st_size / 1024:.0f} KiB")


def forge(portrait: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The first self-blend that changes the face from brows to chin, visibly, and nothing outside it."""
    subject = Portrait("astronaut", portrait, BOX_XYXY, POINTS)
    seed = 0
    while not _is_wanted(pair := self_blend(subject, np.random.default_rng(seed))):
        seed += 1
    return pair.forged


def _is_wanted(pair: Pair) -> bool:
    inside = pair.mask > 0.9  # noqa: PLR2004 - the copy alone, not a mixture
    left, top, right, bottom = BOX_XYXY.astype(int)
    area = float(inside.sum()) / float((right - left) * (bottom - top))
    within = float(inside[top:bottom, left:right].sum()) / max(float(inside.sum()), 1.0)
    untouched = np.array_equal(pair.real, np.asarray(data.astronaut(), np.uint8))
    if area < LEAST_AREA or within < LEAST_INSIDE or not untouched:
        return False
    change = np.abs(pair.forged[inside].astype(int) - pair.real[inside]).mean()
    return bool(change >= LEAST_CHANGE)


def filmed(picture: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """`(HEIGHT, WIDTH, 3)` uint8 RGB frames: the picture under a slow drift, turn and zoom, with sensor noise."""
    rng = np.random.default_rng(0)
    centre = (float(BOX_XYXY[[0, 2]].mean()), float(BOX_XYXY[[1, 3]].mean()) + 30)
    for i in range(SECONDS * FPS):
        phase = 2 * np.pi * i / (SECONDS * FPS)
        zoom = ZOOM * (1 + 0.04 * np.sin(phase))
        matrix = cv2.getRotationMatrix2D(centre, 2.0 * np.sin(phase + 1), zoom)
        drift = np.array([12 * np.sin(phase + 0.5), 8 * np.sin(2 * phase)])
        matrix[:, 2] += np.array([WIDTH / 2, HEIGHT / 2]) - centre + drift
        frame = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        noisy = frame + rng.normal(0, NOISE, frame.shape)
        yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def write(path: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    """Encode with H.264; one thread, so that the bytes are the same on every machine."""
    options = {"crf": "24", "preset": "slow", "threads": "1"}
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
