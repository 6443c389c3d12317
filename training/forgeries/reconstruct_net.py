"""Small autoencoders of faces that differ in how they enlarge: each way leaves its own pattern in the spectrum.

Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016, show where the patterns come from;
Durall, Keuper and Keuper, "Watch your Up-Convolution", CVPR 2020, that generators in general carry them.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Architecture = Literal["transposed", "nearest", "bilinear", "pixel_shuffle"]
ARCHITECTURES: tuple[Architecture, ...] = ("transposed", "nearest", "bilinear", "pixel_shuffle")
HELD_OUT: Architecture = "pixel_shuffle"  # for validation only: no training picture is made with it

SIDE = 128  # px of the square the networks work on
# Channels at full size, half, a quarter and an eighth. Plain enlarging adds no detail of its own: from an eighth
# bilinear's faces had no eyes after 1,100 steps (25.5 dB; the pixel shuffle 27.9), so it and nearest stop at a quarter.
WIDTHS = {
    "transposed": (16, 24, 48, 64),
    "pixel_shuffle": (16, 24, 48, 64),
    "nearest": (16, 24, 48),
    "bilinear": (16, 24, 48),
}
CODE = 8192  # numbers that a face is squeezed into, a sixth of the square's


class FaceAutoencoder(nn.Module):
    """Pictures `(B, 3, 128, 128)` float32 RGB in [0, 1] to the same shape; 37,000 to 256,000 weights.

    Attributes:
        architecture: how it enlarges.
        code_shape: channels, height and width of the code: `(32, 16, 16)` or `(8, 32, 32)`.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        widths = WIDTHS[architecture]
        side = SIDE >> (len(widths) - 1)
        self.code_shape = (CODE // side**2, side, side)
        shrinking = [layer for pair in pairwise((3, *widths[1:])) for layer in _shrink(*pair)]
        self.encoder = nn.Sequential(*shrinking, nn.Conv2d(widths[-1], self.code_shape[0], 1))
        enlarging = [layer for pair in pairwise(widths[::-1]) for layer in _enlarge(architecture, *pair)]
        self.decoder = nn.Sequential(
            nn.Conv2d(self.code_shape[0], widths[-1], 3, padding=1),
            nn.LeakyReLU(0.1),
            *enlarging,
            nn.Conv2d(widths[0], 3, 1),  # one by one: a wider last layer would smooth the pattern away
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Reconstruct; the result may leave [0, 1] by a little."""
        code = self.encoder(pictures * 2 - 1)
        reconstructed: Tensor = self.decoder(code)
        return reconstructed * 0.5 + 0.5


def new_net(architecture: Architecture, seed: int) -> FaceAutoencoder:
    """A network with random weights that depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return FaceAutoencoder(architecture)


def _shrink(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.1)]


def _enlarge(architecture: Architecture, inputs: int, outputs: int) -> list[nn.Module]:
    """Twice the size. The kernel of 3 at stride 2 overlaps unevenly, which is what draws the checkerboard."""
    layers: list[nn.Module]
    if architecture == "transposed":
        layers = [nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)]
    elif architecture == "pixel_shuffle":
        layers = [nn.Conv2d(inputs, 4 * outputs, 3, padding=1), nn.PixelShuffle(2)]
    elif architecture == "nearest":
        layers = [nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1)]
    else:
        bilinear = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        layers = [bilinear, nn.Conv2d(inputs, outputs, 3, padding=1)]
    return [*layers, nn.LeakyReLU(0.1)]
