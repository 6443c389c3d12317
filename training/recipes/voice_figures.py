"""What `voice-v1` is worth, beside a published detector and trivial measures.

Two questions in this order: how many recordings of people whom no training heard are called fake, in the many states
that recordings are in; and how well copies are told from recordings, family by family. The command writes lines of
JSON to standard output; the card quotes them.
"""

import argparse
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from models.detectors.catalogue import Catalogue, load_detector, read_catalogue
from models.detectors.contract import Detector
from models.media.limits import SAMPLE_RATE_HZ
from models.media.windows import cut_windows, window_starts
from training.forgeries.voice_augment import VoiceDegradation, degrade_voice
from training.vocoders.families import UNSEEN, voice_families
from training.vocoders.pairs import FULL_SCALE, Family, corpus, made
from training.vocoders.speech import DIGITS, READ, WORDS, Recording, Samples, read_samples, recordings

JOINED_S = 4.0  # single digits are put together to this length: detectors want a second of sound
SHORTEST_S = 1.0
DRAWS = 1000  # of the bootstrap over speakers
QUANTILES = (2.5, 97.5)
MOST_ITEMS, MOST_PAIRS = 60, 60  # of each source, of each family
SIXTEEN_BIT = 32768
STATES: dict[str, tuple[VoiceDegradation, ...]] = {
    "as it is": (VoiceDegradation(),),
    "MP3, kbit/s 64 48 32 24 16": tuple(
        VoiceDegradation(codec="mp3", bit_rate=1000 * rate) for rate in (64, 48, 32, 24, 16)
    ),
    "level, dBFS -12 -18 -24 -30 -36": tuple(VoiceDegradation(level_dbfs=-level) for level in (12, 18, 24, 30, 36)),
    "noise, dB below 40 30 20 15 10": tuple(
        VoiceDegradation(snr_db=snr, noise_slope=1) for snr in (40, 30, 20, 15, 10)
    ),
    "telephone and narrow band, Hz 12000 11025 8000": tuple(
        VoiceDegradation(rate_hz=rate) for rate in (12_000, 11_025, 8_000)
    ),
}

Score = Callable[[Samples], float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Item:
    """One recording to score, and who is heard in it."""

    speaker: str
    samples: Samples


@dataclass(frozen=True, slots=True)
class Share:
    """Of `count` recordings of `speakers`, what share is called fake."""

    state: str
    source: str
    count: int
    speakers: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Told:
    """How well one family's copies are told from the recordings."""

    family: str
    seen: bool
    measure: str
    pairs: int
    recordings: int
    auc: float
    low: float
    high: float


def detector_score(detector: Detector) -> Score:
    """The logit of one sound as the service computes it: windows of the view, then the decision."""
    return partial(_scored, detector)


def _scored(detector: Detector, samples: Samples) -> float:
    view = detector.view
    starts = window_starts(len(samples), view.size, view.count, view.hop)
    windows = cut_windows(samples, starts, view.size, repeat=view.fit == "repeat")
    return detector.decide(detector.encode(windows), starts / SAMPLE_RATE_HZ).logit


def level(samples: Samples) -> float:
    """Root mean square, dB; with the others below what can be measured without listening for synthesis."""
    return float(20 * np.log10(max(float(np.sqrt(np.mean(samples**2))), 1e-9)))


def peakiness(samples: Samples) -> float:
    """Peak over root mean square, dB."""
    return float(20 * np.log10(max(float(np.abs(samples).max()), 1e-9))) - level(samples)


def high_band(samples: Samples) -> float:
    """Share of power above 4 kHz, dB."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(10 * np.log10(max(power[len(power) // 2 :].sum() / max(power.sum(), 1e-12), 1e-12)))


def flatness(samples: Samples) -> float:
    """Geometric over arithmetic mean of the spectrum, dB."""
    power = np.abs(np.fft.rfft(samples)) ** 2 + 1e-12
    return float(10 * (np.log10(power).mean() - np.log10(power.mean())))


def floor(samples: Samples) -> float:
    """The quietest tenth of 25 ms frames against the loudest, dB."""
    frames = samples[: len(samples) // 400 * 400].reshape(-1, 400)
    quiet, loud = np.percentile(np.sqrt((frames**2).mean(axis=1)) + 1e-9, (10, 90))
    return float(20 * np.log10(quiet / loud))


TRIVIAL: dict[str, Score] = {
    "level": level,
    "peakiness": peakiness,
    "high band": high_band,
    "flatness": flatness,
    "noise floor": floor,
}


def real_items(data: Path, split: str, source: str, most: int) -> list[Item]:
    """Real recordings of one source, the same ones in every run; digits are joined by speaker."""
    chosen = recordings(data, split, (source,))
    chosen = sorted(chosen, key=lambda of: zlib.crc32(of.name.encode()))
    items = list(_joined(chosen)) if source == DIGITS else [Item(of.speaker, read_samples(of.path)) for of in chosen]
    return [item for item in items if len(item.samples) >= SHORTEST_S * SAMPLE_RATE_HZ][:most]


def _joined(chosen: Sequence[Recording]) -> Iterator[Item]:
    for speaker in dict.fromkeys(of.speaker for of in chosen):
        parts: list[Samples] = []
        for of in (of for of in chosen if of.speaker == speaker):
            parts.append(read_samples(of.path))
            if sum(map(len, parts)) >= JOINED_S * SAMPLE_RATE_HZ:
                yield Item(speaker, np.concatenate(parts))
                parts = []


def through(samples: Samples, how: VoiceDegradation) -> Samples:
    """One state of a recording, as a file of 16 bits holds it."""
    degraded = degrade_voice(samples, how)
    return (np.rint(degraded * SIXTEEN_BIT) / SIXTEEN_BIT).astype(np.float32)


def false_alarms(score: Score, threshold: float, items: Mapping[str, Sequence[Item]]) -> Iterator[Share]:
    """The share called fake of each source, in each state."""
    for state, strengths in STATES.items():
        for number, how in enumerate(strengths):
            for source, of in items.items():
                called = [score(through(item.samples, how)) > threshold for item in _tracked(of, f"{state} {number}")]
                low, high = interval(np.array(called, float), [item.speaker for item in of])
                speakers = len({item.speaker for item in of})
                name = state if len(strengths) == 1 else f"{state}: {number + 1}"
                yield Share(name, source, len(of), speakers, float(np.mean(called)), low, high)


def _tracked(items: Sequence[Item], what: str) -> Iterable[Item]:
    """With a bar on standard error."""
    return track(items, what, console=Console(stderr=True))


def interval(values: Floats, speakers: Sequence[str]) -> tuple[float, float]:
    """95 % of the mean, by drawing speakers with replacement; 0 to 1 where one speaker cannot stand for others."""
    rng = np.random.default_rng(0)
    groups = [values[[s == name for s in speakers]] for name in dict.fromkeys(speakers)]
    if len(groups) == 1:
        return 0.0, 1.0
    draws = (rng.integers(len(groups), size=len(groups)) for _ in range(DRAWS))
    low, high = np.percentile([np.concatenate([groups[i] for i in draw]).mean() for draw in draws], QUANTILES)
    return float(low), float(high)


def told(name: str, score: Score, family: str, of: Family, most: int) -> Told:
    """How well a measure tells one family's pairs apart, in the order that suits it better."""
    pairs, picks = of.pairs[:most], of.picks[:most]
    scores = np.array([[score(sound.astype(np.float32) / FULL_SCALE) for sound in pair] for pair in pairs])
    if name in TRIVIAL and _auc(scores) < 0.5:  # noqa: PLR2004 - a measure that is lower for copies
        scores = -scores
    rng = np.random.default_rng(0)
    rows = {pick: np.flatnonzero(picks == pick) for pick in np.unique(picks)}
    drawn = (np.concatenate([rows[p] for p in rng.choice(list(rows), len(rows))]) for _ in range(DRAWS))
    low, high = np.percentile([_auc(scores[of_draw]) for of_draw in drawn], QUANTILES)
    return Told(family, family not in UNSEEN, name, len(pairs), len(rows), _auc(scores), float(low), float(high))


def _auc(scores: Floats) -> float:
    """Share of all pairings of a recording and a copy in `(N, 2)` that are in order; equal scores count half."""
    ahead = scores[:, 1] - scores[:, :1]
    return float((ahead > 0).mean() + (ahead == 0).mean() / 2)


def threshold(catalogue: Catalogue, name: str) -> float:
    """The logit above which the service says FAKE on this detector's word alone."""
    calibration = next(row for row in catalogue.every if row.id == name).calibration
    odds = catalogue.verdict.fake_above / (1 - catalogue.verdict.fake_above)
    return (math.log(odds) - calibration.bias) / calibration.scale


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description="Measure detectors of voices on speakers that no training heard.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the development data")
    parser.add_argument("--shared", type=Path, required=True, help="of the training run: vocoders and pairs")
    parser.add_argument("--catalogue", type=Path, help="another file than configs/models.yaml")
    parser.add_argument("--model", nargs="+", default=["voice-v1"], help="ids of the catalogue")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--items", type=int, default=MOST_ITEMS, help="of each source, at most")
    parser.add_argument("--pairs", type=int, default=MOST_PAIRS, help="of each family")
    args = parser.parse_args()
    torch.set_num_threads(1)
    catalogue = read_catalogue(args.catalogue) if args.catalogue else read_catalogue()
    rows = {row.id: row for row in catalogue.every}
    scores = {name: detector_score(load_detector(rows[name], catalogue.store)) for name in args.model}
    items = {source: real_items(args.data, args.split, source, args.items) for source in (READ, WORDS, DIGITS)}
    for name, score in scores.items():
        for share in false_alarms(score, threshold(catalogue, name), items):
            print(json.dumps({"model": name, **asdict(share)}), flush=True)
    speech = corpus(recordings(args.data, args.split))
    for family, vocode in voice_families(args.shared / "vocoders").items():
        of = made(args.shared / "voice_pairs", args.split, family, vocode, speech, args.pairs)
        for name, score in {**scores, **TRIVIAL}.items():
            print(json.dumps(asdict(told(name, score, family, of, args.pairs))), flush=True)


if __name__ == "__main__":
    main()
