"""A small convolutional network over the spectrogram of speech; trained here against copies of real voices.

What a microphone, a room or a codec does to all of a recording alike is taken off before the network looks: the level,
and the mean of each band over the window. It hears 0.1 to 7.1 kHz, since what lies above tells how a file was encoded.

Shapes below are of one window of S samples: T = S // 160 + 1 frames, F = 224 bands.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.contract import Recipe, Rows
from models.detectors.device import Device
from models.detectors.labels import fake_logits
from models.detectors.sound import judged
from models.detectors.weights import fill, read_tensors
from models.types import Class, ClipScore, View

LABELS: tuple[Class, ...] = ("fake",)  # one logit
WINDOW = 512  # samples of one Fourier transform: harmonics of a low voice stand apart
HOP = 160  # samples: 10 ms
BANDS = slice(4, 228)  # of 31.25 Hz each
FAINTEST = 1e-7  # of the window's mean power, 70 dB below it; what is fainter counts as silence
STILL = 0.05  # deviation in nats below which a window is not stretched: noise of equal power everywhere
WIDTHS = (16, 24, 32, 48)
READ = 96  # channels that read all bands of a moment at once
ROWS = 14  # of the bands, after four halvings


def bands(sound: Tensor) -> Tensor:
    """Log power by band and time, without level, without the mean of each band.

    Args:
        sound: `(N, S)` float32 at 16 kHz, of any level.

    Returns:
        `(N, 1, 224, T)` float32 of unit deviation; zero for silence.
    """
    hann = torch.hann_window(WINDOW, device=sound.device)
    spectrum = torch.stft(sound, WINDOW, HOP, window=hann, center=True, pad_mode="constant", return_complex=True)
    power = spectrum[:, BANDS].abs().square()
    power = power / power.mean((1, 2), keepdim=True).clamp_min(torch.finfo(power.dtype).tiny)
    nats = torch.log(power + FAINTEST)
    nats = nats - nats.mean(2, keepdim=True)
    deviation = nats.square().mean((1, 2), keepdim=True).sqrt()
    return (nats / deviation.clamp_min(STILL)).unsqueeze(1)


class Halving(nn.Module):
    """Half of the bands and of the frames, then one residual convolution."""

    def __init__(self, narrow: int, wide: int, taps: int = 3) -> None:
        super().__init__()
        self.down = nn.Conv2d(narrow, wide, taps, stride=2, padding=taps // 2, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        self.same = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.same_norm = nn.BatchNorm2d(wide)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, F, T)` in, `(N, C', F / 2, T / 2)` out, rounded up."""
        x = functional.relu(self.norm(self.down(x)))
        return functional.relu(x + self.same_norm(self.same(x)))


class VoiceCnn(nn.Module):
    """The network: about 120,000 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTHS[0], 5, stride=2, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(WIDTHS[0])
        self.halvings = nn.Sequential(*(Halving(WIDTHS[i], WIDTHS[i + 1]) for i in range(len(WIDTHS) - 1)))
        self.read = nn.Conv2d(WIDTHS[-1], READ, (ROWS, 1))
        self.head = nn.Linear(2 * READ, 1)

    def forward(self, sound: Tensor) -> Tensor:
        """`(N, S)` float32 at 16 kHz in, `(N, 1)` logits of fake out."""
        with torch.autocast(sound.device.type, enabled=False):  # half precision holds no power spectrum
            x = bands(sound.float())
        logits: Tensor = self.head(self.summary(x))
        return logits

    def summary(self, x: Tensor) -> Tensor:
        """`(N, 1, 224, T)` bands in, `(N, 192)` mean and deviation over time of what was read out."""
        x = functional.relu(self.stem_norm(self.stem(x)))
        x = functional.relu(self.read(self.halvings(x))).squeeze(2)
        deviation = (x - x.mean(2, keepdim=True)).square().mean(2).clamp_min(1e-6).sqrt()
        return torch.cat([x.mean(2), deviation], 1)


class VoiceCnnDetector:
    """The detector `voice_cnn`; satisfies `models.detectors.contract.Detector`."""

    def __init__(self, net: VoiceCnn, recipe: Recipe) -> None:
        self.view: View = recipe.view
        self._labels = recipe.labels or LABELS
        fake_logits(np.zeros((1, 1), np.float32), self._labels)  # labels that do not fit are refused here
        self._device = Device(recipe.device, recipe.precision)
        self._net = self._device.place(net, channels_last=True)

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """Logits of windows of sound.

        Args:
            batch: `(N, samples)` float32 at 16 kHz in [-1, 1]; may be read-only.

        Returns:
            `(N, 1)` float32 in the order of the labels. A row does not depend on its neighbours.
        """
        return self._device.encode(self._net, batch)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one sound: the mean logit of its windows.

        Args:
            features: `(W, 1)` float32 from `encode`, W at least 1.
            times_s: `(W,)`, where the windows start, in seconds.
        """
        return judged(fake_logits(features, self._labels), times_s, self.view.size)


def load(recipe: Recipe) -> VoiceCnnDetector:
    """Build the detector from its safetensors file.

    Raises:
        WeightsError: the file cannot be read, a key is missing, unexpected or misshapen (it is named), or the label
            is not that of one output.
        CatalogueError: the row has options; there are none.
    """
    recipe.accept_options()
    net = VoiceCnn()
    fill(net, read_tensors(recipe.weights), recipe.weights)
    return VoiceCnnDetector(net, recipe)
