"""What a vocoder is given and what it is judged by, in torch: the short-time analysis of `voice_analysis`."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.forgeries.voice_analysis import HOP, WINDOW, mel_filters

MELS = 80
FAINTEST = 1e-5  # magnitude under the logarithm
RESOLUTIONS = ((2048, 512), (1024, 256), (512, 128), (256, 64))  # window and hop, samples


class MelSpectrum(nn.Module):
    """Log magnitudes in mel bands."""

    filters: Tensor
    hann: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filters", torch.from_numpy(mel_filters(MELS)), persistent=False)
        self.register_buffer("hann", torch.hann_window(WINDOW), persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        """`(N, S)` sound in, `(N, 80, S / 128)` out; S is a multiple of the hop."""
        return torch.log((self.filters @ spectrum(sound, self.hann, HOP).abs()).clamp_min(FAINTEST))[..., :-1]


def spectrum(sound: Tensor, hann: Tensor, hop: int) -> Tensor:
    """`(N, S)` to complex `(N, F, T)`, frames centred on multiples of the hop, T is `S // hop + 1`."""
    window = len(hann)
    return torch.stft(sound, window, hop, window=hann, center=True, pad_mode="constant", return_complex=True)


def stft_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Spectral convergence and log magnitudes over four resolutions (Yamamoto, Song and Kim, ICASSP 2020)."""
    total = made.new_zeros(())
    for window, hop in RESOLUTIONS:
        hann = torch.hann_window(window, device=made.device)
        ours, theirs = (spectrum(part, hann, hop).abs().clamp_min(FAINTEST) for part in (made, wanted))
        convergence = (theirs - ours).norm() / theirs.norm().clamp_min(1e-3)
        total = total + convergence + functional.l1_loss(ours.log(), theirs.log())
    return total / len(RESOLUTIONS)
