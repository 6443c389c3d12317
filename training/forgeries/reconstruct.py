"""Forgeries by a network: the same face drawn anew by a small autoencoder, whole or blended back.

Stands for whole-face synthesis and reenactment, which self-blending does not cover. The person stays the same and so
does the expression; what changes is what enlarging from a small code leaves: periodic peaks in the spectrum (see
`reconstruct_net`), smoothed skin, hair and teeth drawn from habit. Blended back, the edge of the mask comes on top.

Kept out of training, for validation only: the architecture `reconstruct_net.HELD_OUT`. The networks are trained by
`python -m training.forgeries.reconstruct_train`; they are neither committed nor bundled.

Softness: the networks draw faces softer than they are. So the layer is sharpened to the picture's own measure; where
that does not reach it the real picture is blurred to the layer's; and where the face is larger than the networks'
square the real picture, too, goes through that size. What is left, of 200 pairs of the training portraits degraded
alike, by networks of 270 to 1,900 steps: Laplacian variance 1.03 times the reals' (transposed), 0.91 (nearest), 0.78
(bilinear); alone it has an AUC of .53 at most. Longer training narrows it.
"""

from pathlib import Path
from typing import TypeVar, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from models.faces.crop import face_crop, resize
from models.faces.square import square_around
from training.forgeries.matching import laplacian_variance, match_colour, match_sharpness
from training.forgeries.reconstruct_net import SIDE, Architecture, FaceAutoencoder
from training.forgeries.self_blend import Pair, blend, region_mask
from training.portraits import Portrait

MARGIN = 0.3  # around the face box, as the detectors' views have it, so that "whole" fills their crop
SOFT_ENOUGH = 0.95  # of the picture's Laplacian variance; below, the picture is blurred to the layer
WHOLE = 0.5  # share of forgeries in which the square is replaced, not only a part of the face
REGIONS = ("face", "face_and_forehead", "inner_face")
EDGE = 0.03  # of the square's side: where a whole reconstruction fades out, about the edge of the detectors' crop
_Values = TypeVar("_Values", np.uint8, np.float32)
ENLARGINGS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def reconstruct(portrait: Portrait, net: FaceAutoencoder, rng: np.random.Generator) -> Pair:
    """Forge one portrait.

    Args:
        portrait: a real face; not modified.
        net: a trained network in `eval` mode.
        rng: every random choice comes from it, so equal seeds and networks give equal pairs.
    """
    enlarging = int(rng.choice(ENLARGINGS))
    left, top, side = square_around(portrait.box_xyxy, MARGIN)
    made = redraw(face_crop(portrait.rgb, portrait.box_xyxy, MARGIN, SIDE), net)
    real = _through_working_size(portrait.rgb, SIDE / side, enlarging)
    layer = _pasted(real, _scaled(made, side, enlarging), left, top)
    if rng.random() < WHOLE:
        mask = square_mask(real.shape[:2], left, top, side)
    else:
        mask = region_mask(portrait, str(rng.choice(REGIONS)), rng)
        layer = match_colour(layer, real, mask)
    layer = match_sharpness(layer, real, mask)
    if laplacian_variance(layer, mask) < SOFT_ENOUGH * laplacian_variance(real, mask):
        real = match_sharpness(real, layer, mask)
    return Pair(real, blend(layer, real, mask), mask)


@torch.inference_mode()
def redraw(square: NDArray[np.uint8], net: FaceAutoencoder) -> NDArray[np.uint8]:
    """A face as the network draws it; `(128, 128, 3)` uint8 RGB in and out."""
    picture = torch.from_numpy(square).permute(2, 0, 1)[None].float() / 255
    made = net(picture)[0].clamp(0, 1) * 255
    drawn: NDArray[np.uint8] = made.round().byte().permute(1, 2, 0).contiguous().numpy()
    return drawn


def square_mask(size_hw: tuple[int, ...], left: int, top: int, side: int) -> NDArray[np.float32]:
    """`(H, W)` float32: 1 inside the square, falling to 0 over `EDGE` within it."""
    along = np.minimum(np.arange(side) + 0.5, side - 0.5 - np.arange(side)) / max(1.0, EDGE * side)
    ramp = np.clip(along, 0, 1).astype(np.float32)
    return _pasted(np.zeros(size_hw, np.float32), np.minimum.outer(ramp, ramp), left, top)


def weights_path(folder: Path, architecture: Architecture, seed: int) -> Path:
    """Where the weights of one network lie; the name says what it is."""
    return folder / f"{architecture}-{seed}.safetensors"


def load_nets(folder: Path, architectures: tuple[Architecture, ...]) -> list[FaceAutoencoder]:
    """Every trained network of these architectures, in the order of their names.

    Raises:
        FileNotFoundError: there is none; nothing would be forged without a word.
    """
    paths = [path for path in sorted(folder.glob("*.safetensors")) if _architecture_of(path) in architectures]
    if not paths:
        raise FileNotFoundError(f"no network of {', '.join(architectures)} in {folder}")
    return [_loaded(path) for path in paths]


def _loaded(path: Path) -> FaceAutoencoder:
    net = FaceAutoencoder(_architecture_of(path))
    net.load_state_dict(load_file(path))
    return net.eval()


def _architecture_of(path: Path) -> Architecture:
    name = path.stem.rpartition("-")[0]
    for known in get_args(Architecture):
        if name == known:
            architecture: Architecture = known
            return architecture
    raise ValueError(f"{path.name} names no architecture of {', '.join(get_args(Architecture))}")


def _through_working_size(rgb: NDArray[np.uint8], scale: float, enlarging: int) -> NDArray[np.uint8]:
    if scale >= 1:
        return rgb
    height, width = rgb.shape[:2]
    small = resize(rgb, (max(8, round(width * scale)), max(8, round(height * scale))))
    return cv2.resize(small, (width, height), interpolation=enlarging).astype(np.uint8, copy=False)


def _scaled(square: NDArray[np.uint8], side: int, enlarging: int) -> NDArray[np.uint8]:
    interpolation = enlarging if side > len(square) else cv2.INTER_AREA
    return cv2.resize(square, (side, side), interpolation=interpolation).astype(np.uint8, copy=False)


def _pasted(onto: NDArray[_Values], square: NDArray[_Values], left: int, top: int) -> NDArray[_Values]:
    """A copy of `onto` with the square on it, as far as it lies within."""
    pasted = onto.copy()
    x0, y0 = max(left, 0), max(top, 0)
    part = square[y0 - top : onto.shape[0] - top, x0 - left : onto.shape[1] - left]
    pasted[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part
    return pasted
