"""Any transformers classifier of raw sound: wav2vec 2.0, XLS-R, HuBERT, WavLM and their kin, built from its config.

The files are those of a Hugging Face repository: `weights` (model.safetensors), `config` (config.json) and, if it has
one, `preprocessor` (preprocessor_config.json). Nothing is downloaded, and no code of a repository runs.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForAudioClassification

from models.detectors.contract import Recipe, Rows
from models.detectors.device import Device
from models.detectors.hf_files import built, read_config, read_json
from models.detectors.labels import established, fake_logits
from models.detectors.sound import judged
from models.detectors.weights import fill, read_tensors
from models.errors import CatalogueError, WeightsError
from models.media.limits import SAMPLE_RATE_HZ
from models.types import Class, ClipScore, View

# Those that read the waveform itself; the others want spectrograms of their own kind.
WAVEFORM_TYPES = (
    "data2vec-audio",
    "hubert",
    "sew",
    "sew-d",
    "unispeech",
    "unispeech-sat",
    "wav2vec2",
    "wav2vec2-conformer",
    "wavlm",
)
EXTRACTOR = "Wav2Vec2FeatureExtractor"
# The weight norm of the positional convolution, as PyTorch 1 named its two parts and as PyTorch 2 does.
RENAMED = {".weight_g": ".parametrizations.weight.original0", ".weight_v": ".parametrizations.weight.original1"}


def is_normalised(path: Path | None) -> bool:
    """Whether windows are brought to zero mean and unit variance.

    Args:
        path: of preprocessor_config.json; without one, the feature extractor's own default holds: they are.

    Raises:
        WeightsError: it is not the feature extractor of raw sound at 16 kHz.
    """
    content = read_json(path) if path else {}
    kind, rate = content.get("feature_extractor_type", EXTRACTOR), content.get("sampling_rate", SAMPLE_RATE_HZ)
    if kind != EXTRACTOR:
        raise WeightsError(f"{path}: feature_extractor_type is {kind!r}.", f"It must be {EXTRACTOR}.")
    if rate != SAMPLE_RATE_HZ:
        raise WeightsError(f"{path}: sampling_rate is {rate!r}.", f"It must be {SAMPLE_RATE_HZ}.")
    return bool(content.get("do_normalize", True))


def at_unit_variance(rows: Tensor) -> Tensor:
    """`(N, samples)` float32, each row to zero mean and unit variance as `Wav2Vec2FeatureExtractor` does it."""
    return (rows - rows.mean(1, keepdim=True)) / (rows.var(1, correction=0, keepdim=True) + 1e-7).sqrt()


def in_current_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with the two parts of a weight norm named as PyTorch 2 names them."""
    return {_current_name(key): tensor for key, tensor in tensors.items()}


def _current_name(key: str) -> str:
    return next((key.removesuffix(old) + new for old, new in RENAMED.items() if key.endswith(old)), key)


class HfAudioClassifier:
    """The detector `hf_audio_classifier`; satisfies `models.detectors.contract.Detector`."""

    def __init__(self, net: nn.Module, recipe: Recipe, labels: tuple[Class, ...], *, normalise: bool) -> None:
        self.view: View = recipe.view
        self._labels = labels
        self._normalise = normalise
        self._device = Device(recipe.device, recipe.precision)
        self._net = self._device.place(net)

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """Logits of windows of sound.

        Args:
            batch: `(N, samples)` float32 at 16 kHz in [-1, 1]; may be read-only.

        Returns:
            `(N, C)` float32 in the order of the labels. A row does not depend on its neighbours.
        """
        return self._device.encode(self._logits, batch)

    def _logits(self, rows: Tensor) -> Tensor:
        logits: Tensor = self._net(at_unit_variance(rows) if self._normalise else rows).logits
        return logits

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one sound: the mean logit of its windows.

        Args:
            features: `(W, C)` float32 from `encode`, W at least 1.
            times_s: `(W,)`, where the windows start, in seconds.
        """
        return judged(fake_logits(features, self._labels), times_s, self.view.size)


def load(recipe: Recipe) -> HfAudioClassifier:
    """Build the detector from the files of its repository.

    Raises:
        WeightsError: a file cannot be read or needs code of its repository, a key is missing, unexpected or misshapen
            (it is named), the sound must be other than raw at 16 kHz, or the label order cannot be established.
        CatalogueError: the row names no `config`, has options (there are none), or fills short windows with silence.
    """
    _check(recipe)
    config = read_config(recipe.files["config"], WAVEFORM_TYPES, f"one of {', '.join(WAVEFORM_TYPES)}")
    labels = established(config.id2label, recipe.labels, recipe.id)
    normalise = is_normalised(recipe.files.get("preprocessor"))
    net = built(AutoModelForAudioClassification, config, recipe.files["config"])
    fill(net, in_current_names(read_tensors(recipe.weights)), recipe.weights)
    return HfAudioClassifier(net, recipe, labels, normalise=normalise)


def _check(recipe: Recipe) -> None:
    recipe.accept_options()
    if "config" not in recipe.files:
        raise CatalogueError(f"{recipe.id}: none of its files is named config.", "It is the repository's config.json.")
    if recipe.view.fit != "repeat":
        # No attention mask is made, so silence after short sound would be attended to and normalised with it.
        raise CatalogueError(f"{recipe.id}: its view has fit {recipe.view.fit}.", "It must be repeat.")
