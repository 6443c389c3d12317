"""The adversary of a vocoder in its second half of training: small networks that look at spectra, phase included.

After Défossez et al., "High Fidelity Neural Audio Compression", TMLR 2023 (its STFT discriminators), with the losses
of least squares (Mao et al., ICCV 2017) and of matching features (Kumar et al., "MelGAN", NeurIPS 2019).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.vocoders.spectra import spectrum

RESOLUTIONS = ((512, 128), (1024, 256))  # window and hop, samples
WIDTHS = (16, 24, 32)
LEAK = 0.1
LOUDNESS = 0.3  # exponent of magnitudes, so that quiet parts count

Seen = list[list[Tensor]]
"""Of each judge the outputs of its layers; the last is its opinion, 1 for a recording."""


class Judge(nn.Module):
    """Convolutions over one spectrum."""

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        sizes = zip((2, *WIDTHS[:-1]), WIDTHS, strict=True)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, (7, 5), stride=(3, 1), padding=(3, 2)) for a, b in sizes)
        self.last = nn.Conv2d(WIDTHS[-1], 1, 3, padding=1)

    def forward(self, sound: Tensor) -> list[Tensor]:
        """Outputs of all layers for `(N, S)` sound."""
        bins = spectrum(sound, torch.hann_window(self.window, device=sound.device), self.hop)
        bins = bins * bins.abs().clamp_min(1e-4) ** (LOUDNESS - 1)
        x = torch.stack([bins.real, bins.imag], dim=1)
        outputs = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), LEAK)
            outputs.append(x)
        return [*outputs, self.last(x)]


class Judges(nn.Module):
    """One judge for each resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.judges = nn.ModuleList(Judge(window, hop) for window, hop in RESOLUTIONS)

    def forward(self, sound: Tensor) -> Seen:
        """Outputs of all judges for `(N, S)` sound."""
        return [judge(sound) for judge in self.judges]


def judging_loss(of_real: Seen, of_made: Seen) -> Tensor:
    """What the judges lower: 1 for recordings, 0 for copies."""
    losses = [(real[-1] - 1).square().mean() + made[-1].square().mean() for real, made in _pairs(of_real, of_made)]
    return torch.stack(losses).mean()


def fooling_loss(of_real: Seen, of_made: Seen) -> tuple[Tensor, Tensor]:
    """What the vocoder lowers: the distance of its opinions from 1, and of its features from the recording's."""
    opinions = [(made[-1] - 1).square().mean() for made in of_made]
    features = [
        functional.l1_loss(ours, theirs.detach()) / theirs.detach().abs().mean().clamp_min(1e-4)
        for real, made in _pairs(of_real, of_made)
        for ours, theirs in zip(made[:-1], real[:-1], strict=True)
    ]
    return torch.stack(opinions).mean(), torch.stack(features).mean()


def _pairs(of_real: Seen, of_made: Seen) -> Sequence[tuple[list[Tensor], list[Tensor]]]:
    return list(zip(of_real, of_made, strict=True))
