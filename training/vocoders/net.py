"""Four small vocoders that differ in how they get from frames to samples, which is what a detector can learn to hear.

| architecture | from frames to samples | after |
|---|---|---|
| `transposed` | transposed convolutions: tones at multiples of the frame rate | HiFi-GAN (Kong et al., 2020) |
| `spectral` | magnitude and phase of each frame, then the inverse Fourier transform | Vocos (Siuzdak, ICLR 2024) |
| `codec` | the sound itself through few bits, then repeated frames and convolutions | SoundStream; FSQ (ICLR 2024) |
| `filtered` | pulses at the pitch, and noise, through filters that change by frame | NHV (Liu et al., 2020) |

Each maps `(N, S)` real sound to `(N, S)` copied sound, S a multiple of `FRAME`. `HELD_OUT` is for validation only.
"""

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.forgeries.voice_analysis import BINS, HOP, WINDOW, per_sample, pitch_hz
from training.vocoders.spectra import MELS, MelSpectrum, spectrum

Architecture = Literal["transposed", "spectral", "codec", "filtered"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
HELD_OUT: Architecture = "filtered"
SEEN: tuple[Architecture, ...] = tuple(a for a in ARCHITECTURES if a != HELD_OUT)

Samples = NDArray[np.float32]

FRAME = HOP  # samples
STEPS_UP = (8, 4, 4)  # from frames to samples; their product is FRAME
WIDTHS = (96, 48, 24, 12)
LEAK = 0.1
CODE = 32  # numbers per frame between encoder and decoder
LEVELS = 9  # that each of them can take: about 13 kbit/s
LOUDEST = 6.0  # log magnitude that `spectral` cannot exceed


class Residual(nn.Module):
    """Two dilated convolutions added to their input."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        spans = [(1, taps // 2), (3, 3 * (taps // 2))]
        self.layers = nn.ModuleList(nn.Conv1d(width, width, taps, padding=pad, dilation=d) for d, pad in spans)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, T)` in and out."""
        for layer in self.layers:
            x = x + layer(functional.leaky_relu(x, LEAK))
        return x


class Both(nn.ModuleList):
    """The mean of a short and a long view."""

    def __init__(self, width: int) -> None:
        super().__init__([Residual(width, 3), Residual(width, 7)])

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, T)` in and out."""
        return torch.stack([part(x) for part in self]).mean(dim=0)


class Repeated(nn.Module):
    """Frames repeated, then a convolution: no overlap, but images of the spectrum."""

    def __init__(self, wide: int, narrow: int, step: int) -> None:
        super().__init__()
        self.step = step
        self.smooth = nn.Conv1d(wide, narrow, 2 * step + 1, padding=step)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, T)` in, `(N, C', T * step)` out."""
        return self.smooth(x.repeat_interleave(self.step, dim=2))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Features of frames to samples, by steps up; which kind of step is the difference between two architectures."""

    def __init__(self, channels: int, *, repeated: bool) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, WIDTHS[0], 7, padding=3)
        sizes = list(zip(WIDTHS[:-1], WIDTHS[1:], STEPS_UP, strict=True))
        self.ups = nn.ModuleList(
            Repeated(wide, narrow, step)
            if repeated
            else nn.ConvTranspose1d(wide, narrow, 2 * step, step, padding=step // 2)
            for wide, narrow, step in sizes
        )
        self.blocks = nn.ModuleList(Both(narrow) for _, narrow, _ in sizes)
        self.last = nn.Conv1d(WIDTHS[-1], 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, T)` in, `(N, T * 128)` out."""
        x = self.first(x)
        for up, block in zip(self.ups, self.blocks, strict=True):
            x = block(up(functional.leaky_relu(x, LEAK)))
        return torch.tanh(self.last(functional.leaky_relu(x, LEAK)))[:, 0]


class Transposed(nn.Module):
    """Mel bands to samples by transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = MelSpectrum()
        self.decoder = Decoder(MELS, repeated=False)

    def forward(self, sound: Tensor) -> Tensor:
        """`(N, S)` in and out."""
        return self.decoder(self.mel(sound))  # type: ignore[no-any-return]


class Codec(nn.Module):
    """Samples through few bits and back, by repeated frames."""

    def __init__(self) -> None:
        super().__init__()
        sizes = zip((1, *WIDTHS[:0:-1]), WIDTHS[::-1], (1, *STEPS_UP[::-1]), strict=True)
        layers = [nn.Conv1d(a, b, 2 * s + 1, s, padding=s) for a, b, s in sizes]
        self.encoder = nn.ModuleList(layers)
        self.code = nn.Conv1d(WIDTHS[0], CODE, 3, padding=1)
        self.decoder = Decoder(CODE, repeated=True)

    def forward(self, sound: Tensor) -> Tensor:
        """`(N, S)` in and out."""
        x = sound[:, None]
        for layer in self.encoder:
            x = functional.leaky_relu(layer(x), LEAK)
        return self.decoder(coarse(torch.tanh(self.code(x[..., : sound.shape[1] // FRAME]))))  # type: ignore[no-any-return]


def coarse(x: Tensor) -> Tensor:
    """Values in [-1, 1] rounded to `LEVELS`; gradients pass as if they were not (Mentzer et al., "FSQ", 2024)."""
    half = (LEVELS - 1) / 2
    return x + ((x * half).round() / half - x).detach()


class Mixing(nn.Module):
    """One block of Vocos: over time by channel, then over channels by frame (ConvNeXt)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.over_time = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, T)` in and out."""
        mixed = self.down(functional.gelu(self.up(self.norm(self.over_time(x).transpose(1, 2)))))
        return x + mixed.transpose(1, 2)  # type: ignore[no-any-return]


class Spectral(nn.Module):
    """Mel bands to the magnitude and phase of every bin."""

    def __init__(self, width: int = 160, depth: int = 5) -> None:
        super().__init__()
        self.mel = MelSpectrum()
        self.first = nn.Conv1d(MELS, width, 7, padding=3)
        self.blocks = nn.Sequential(*(Mixing(width) for _ in range(depth)))
        self.last = nn.Conv1d(width, 3 * BINS, 1)

    def forward(self, sound: Tensor) -> Tensor:
        """`(N, S)` in and out."""
        mel = self.mel(sound)
        x = functional.pad(self.last(self.blocks(self.first(mel))), (0, 1), mode="replicate")
        log_magnitude, real, imaginary = x.chunk(3, dim=1)
        turned = torch.complex(real, imaginary)
        made = log_magnitude.clamp_max(LOUDEST).exp() * turned / turned.abs().clamp_min(1e-3)
        return back(made, self.mel.hann, sound.shape[1])


class Filtered(nn.Module):
    """Pulses at the recording's pitch, and noise, each through a filter per frame that a network draws."""

    def __init__(self, width: int = 96, depth: int = 3) -> None:
        super().__init__()
        self.mel = MelSpectrum()
        self.first = nn.Conv1d(MELS, width, 7, padding=3)
        self.blocks = nn.Sequential(*(Mixing(width) for _ in range(depth)))
        self.last = nn.Conv1d(width, 2 * BINS, 1)

    def forward(self, sound: Tensor) -> Tensor:
        """`(N, S)` in and out."""
        mel = self.mel(sound)
        x = functional.pad(self.last(self.blocks(self.first(mel))), (0, 1), mode="replicate")
        voiced, breath = x.clamp_max(LOUDEST).exp().chunk(2, dim=1)
        pulses, noise = (spectrum(part, self.mel.hann, HOP) for part in (pulses_of(sound), noise_like(sound)))
        return back(pulses * voiced + noise * breath, self.mel.hann, sound.shape[1])


def pulses_of(sound: Tensor) -> Tensor:
    """`(N, S)`: one pulse per period where there is voice, of the power of noise with unit variance."""
    rows = [_pulses(row) for row in sound.detach().cpu().numpy()]
    return torch.from_numpy(np.stack(rows)).to(sound.device)


def _pulses(samples: Samples) -> Samples:
    pitch = pitch_hz(samples)
    hz = per_sample(pitch, len(samples)) * (per_sample((pitch > 0).astype(float), len(samples)) == 1)
    at = np.diff(np.floor(np.cumsum(hz / 16_000)), prepend=0.0) > 0
    pulses: Samples = (at * np.sqrt(16_000 / np.maximum(hz, 1))).astype(np.float32)
    return pulses


def noise_like(sound: Tensor) -> Tensor:
    """White noise of unit variance, `(N, S)`; the same for equal lengths."""
    generator = torch.Generator().manual_seed(sound.shape[1])
    return torch.randn(sound.shape, generator=generator).to(sound.device)


def back(frames: Tensor, hann: Tensor, length: int) -> Tensor:
    """Complex `(N, F, T)` to `(N, length)`."""
    return torch.istft(frames, WINDOW, HOP, window=hann, center=True, length=length)


NETS: dict[Architecture, type[nn.Module]] = {
    "transposed": Transposed,
    "spectral": Spectral,
    "codec": Codec,
    "filtered": Filtered,
}


def new_net(architecture: Architecture, seed: int) -> nn.Module:
    """A vocoder with the first weights of that seed."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return NETS[architecture]()
