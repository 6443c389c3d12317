"""Two LSTMs over a mel spectrogram, as DeepSafe trains them for sound.

System: AaqibShaikh10/DeepSafe, its training and preprocessing. It publishes no trained weights; this loads what its
training code writes. The features are those of librosa 0.10 and later, computed on the device.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from models.detectors.contract import Recipe, Rows
from models.detectors.device import Device
from models.detectors.labels import fake_logits, logit_of_mean
from models.detectors.sound import judged
from models.detectors.weights import fill, read_tensors
from models.media.limits import SAMPLE_RATE_HZ
from models.types import Class, ClipScore, View

LABELS: tuple[Class, ...] = ("real", "fake")  # of the published training code
WINDOW = 2048  # samples of one Fourier transform
HOP = 512
MELS = 128
STEPS = 300  # of the LSTM; 4 s give 126, the rest is zero
RANGE_DB = 80.0  # what lies further below the loudest value is raised to there
FAINTEST = 1e-10  # power, so that silence has a logarithm


def mel_filters() -> Tensor:
    """Slaney's triangles up to 8 kHz, each of area one: `(128, 1025)` float32."""
    bank = mel_filter_bank(WINDOW // 2 + 1, MELS, 0.0, 8000.0, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(bank.T).float()


def mel_db(sound: Tensor, filters: Tensor) -> Tensor:
    """Mel spectrogram in dB below its own loudest value.

    Args:
        sound: `(N, samples)` float32.
        filters: `(128, 1025)` on the same device.

    Returns:
        `(N, 128, 1 + samples // 512)` float32 in [-80, 0].
    """
    hann = torch.hann_window(WINDOW, device=sound.device)
    spectrum = torch.stft(sound, WINDOW, HOP, window=hann, center=True, pad_mode="constant", return_complex=True)
    db = 10 * torch.log10((filters @ spectrum.abs().square()).clamp_min(FAINTEST))
    return (db - db.amax((1, 2), keepdim=True)).clamp_min(-RANGE_DB)


def steps(db: Tensor) -> Tensor:
    """Each spectrogram scaled to [0, 1] and cut or filled up: `(N, 128, T)` in, `(N, 300, 128)` out."""
    low, high = db.amin((1, 2), keepdim=True), db.amax((1, 2), keepdim=True)
    scaled = ((db - low) / (high - low + 1e-8)).transpose(1, 2)[:, :STEPS]
    return functional.pad(scaled, (0, 0, 0, STEPS - scaled.shape[1]))


class DeepSafeAudio(nn.Module):
    """The network. Attributes are named as the keys of the checkpoints; its dropout is left out."""

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filters", mel_filters(), persistent=False)
        self.lstm1 = nn.LSTM(MELS, 256, batch_first=True)
        self.lstm2 = nn.LSTM(256, 128, batch_first=True)
        self.fc1 = nn.Linear(128, 64)
        self.fc2 = nn.Linear(64, 2)

    def forward(self, sound: Tensor) -> Tensor:
        """`(N, samples)` float32 at 16 kHz in, `(N, 2)` logits of real and fake out."""
        with torch.autocast(sound.device.type, enabled=False):  # half precision holds no power spectrum
            x = steps(mel_db(sound, self.filters))
        _, (last, _) = self.lstm2(self.lstm1(x)[0])
        logits: Tensor = self.fc2(functional.relu(self.fc1(last[0])))
        return logits


class DeepSafeAudioLstm:
    """The detector `deepsafe_audio_lstm`; satisfies `models.detectors.contract.Detector`."""

    def __init__(self, net: DeepSafeAudio, recipe: Recipe) -> None:
        self.view: View = recipe.view
        self._labels = recipe.labels or LABELS
        fake_logits(np.zeros((1, 2), np.float32), self._labels)  # labels that do not fit are refused here
        self._device = Device(recipe.device, recipe.precision)
        self._net = self._device.place(net)

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """Logits of windows of sound.

        Args:
            batch: `(N, samples)` float32 at 16 kHz in [-1, 1]; may be read-only. 64,000 samples were trained on.

        Returns:
            `(N, 2)` float32 in the order of the labels. A row does not depend on its neighbours.
        """
        return self._device.encode(self._net, batch)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one sound: the logit of the mean probability of its windows, as published.

        Args:
            features: `(W, 2)` float32 from `encode`, W at least 1.
            times_s: `(W,)`, where the windows start, in seconds.
        """
        logits = fake_logits(features, self._labels)
        return judged(logits, times_s, self.view.size, logit_of_mean(logits))


def load(recipe: Recipe) -> DeepSafeAudioLstm:
    """Build the detector from its safetensors file.

    Raises:
        WeightsError: the file cannot be read, a key is missing, unexpected or misshapen (it is named), or the labels
            are not those of two outputs.
        CatalogueError: the row has options; there are none.
    """
    recipe.accept_options()
    net = DeepSafeAudio()
    fill(net, read_tensors(recipe.weights), recipe.weights)
    return DeepSafeAudioLstm(net, recipe)
