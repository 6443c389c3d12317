"""Measure a weights file on the validation portraits: `python -m training.evaluate --data DIR --weights FILE`.

Every person is shown as a short clip: several views of one picture, real and self-blended, each through the same
history. Figures are given per history, since a detector that learnt softness looks fine on their mixture.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.detectors.contract import Recipe
from models.detectors.mobilenet_sbi import MobileNetSbi, load, trimmed_mean
from training.augment import Degradation, degrade, draw_framing
from training.clips import development_clips
from training.evaluation.metrics import auc, eer
from training.forgeries.self_blend import self_blend
from training.portraits import Portrait, load_portraits
from training.recipes.mobilenet_sbi import VIEW

LEVELS = {
    "clean": Degradation(),
    "soft": Degradation(face_side=48, blur=0.8),
    "jpeg": Degradation(face_side=90, jpeg=40),
    "h264": Degradation(face_side=110, crf=30, frames=3, drift_xy=(1, 1)),
    "soft h264": Degradation(face_side=56, crf=30, frames=3, drift_xy=(1, 1)),
}
SEED = 20261121
VIEWS = 8  # per clip; half of what serving takes, since views of one still differ less than frames
RESAMPLES = 1000  # bootstrap, over persons
REAL_WEIGHT = 3.0  # in the calibration: a real face called fake costs more than a forgery missed
FAKE_ABOVE = 0.5

Sides = tuple[NDArray[np.float64], NDArray[np.float64]]  # of reals, of forgeries
Statistic = Callable[[NDArray[np.float64], NDArray[np.float64]], float]


@dataclass(frozen=True, slots=True)
class Scores:
    """Logits of one level, `(persons, views)` float32 each; row i of both is the same person and history."""

    real: NDArray[np.float32]
    forged: NDArray[np.float32]

    def clips(self) -> Sides:
        """Clip logits `(persons,)` of reals and forgeries."""
        return _clip_logits(self.real), _clip_logits(self.forged)

    def pictures(self) -> Sides:
        """Logits of each person's first view alone."""
        return self.real[:, 0].astype(np.float64), self.forged[:, 0].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Calibration:
    """`p_fake = sigmoid(scale * logit + bias)`."""

    scale: float
    bias: float

    def p_fake(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities in [0, 1], same shape."""
        return np.asarray(1 / (1 + np.exp(-(self.scale * logits + self.bias))), np.float64)


def interval(real: NDArray[np.float64], fake: NDArray[np.float64], statistic: Statistic) -> tuple[float, float]:
    """95 % bootstrap interval of a statistic of reals and fakes whose last axis is the person."""
    rng = np.random.default_rng(SEED)
    draws = rng.integers(real.shape[-1], size=(RESAMPLES, real.shape[-1]))
    values = [statistic(real[..., draw].ravel(), fake[..., draw].ravel()) for draw in draws]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def score_level(detector: MobileNetSbi, portraits: list[Portrait], level: Degradation) -> Scores:
    """Logits of every portrait and its forgery at one level; the same portraits always give the same crops."""
    real, forged = [], []
    for number, portrait in enumerate(portraits):
        rng = np.random.default_rng([SEED, number])
        pair = self_blend(portrait, rng)
        framings = [draw_framing(rng) for _ in range(VIEWS)]
        real.append(_logits(detector, _views(pair.real, portrait, level, framings)))
        forged.append(_logits(detector, _views(pair.forged, portrait, level, framings)))
    return Scores(np.stack(real), np.stack(forged))


def fit_calibration(levels: dict[str, Scores]) -> Calibration:
    """Platt's scaling on the clip logits of all levels together, soft and compressed reals included."""
    clips = [scores.clips() for scores in levels.values()]
    real, fake = (np.concatenate(side) for side in zip(*clips, strict=True))
    labels = np.repeat([0, 1], [len(real), len(fake)])
    model = LogisticRegression(C=1e6, class_weight={0: REAL_WEIGHT, 1: 1.0})
    model.fit(np.concatenate([real, fake])[:, None], labels)
    return Calibration(float(model.coef_[0, 0]), float(model.intercept_[0]))


def report(levels: dict[str, Scores], sides: NDArray[np.float64], calibration: Calibration) -> Iterator[str]:
    """Lines of a table: a row per level, one of all, and two of the first level by `sides`, the face boxes in px."""
    yield "level           AUC of clips [95 %]   of single pictures     EER    reals called fake  forgeries called fake"
    for name, scores in levels.items():
        yield _row(name, scores.clips(), scores.pictures(), calibration)
    yield _row(
        "all",
        _stacked([s.clips() for s in levels.values()]),
        _stacked([s.pictures() for s in levels.values()]),
        calibration,
    )
    name, scores = next(iter(levels.items()))
    middle = np.median(sides)
    for side, chosen in ((f"< {middle:.0f} px", sides < middle), (f">= {middle:.0f} px", sides >= middle)):
        part = Scores(scores.real[chosen], scores.forged[chosen])
        yield _row(f"{name}, {side}", part.clips(), part.pictures(), calibration)


def report_clips(detector: MobileNetSbi, data: Path, calibration: Calibration) -> Iterator[str]:
    """Lines on the development clips: for the developers' eyes, never for a released figure."""
    called = {False: 0, True: 0}
    clips = development_clips(data)
    for clip in clips:
        logits = np.array([trimmed_mean(_logits(detector, crops)) for crops in clip.crops], np.float64)
        p_fake = float(calibration.p_fake(logits).max()) if len(logits) else float("nan")
        called[clip.fake] += p_fake > FAKE_ABOVE
        yield f"{clip.file:60} p_fake {p_fake:.3f}  face {clip.face_px:.0f} px"
    fakes = sum(clip.fake for clip in clips)
    yield f"real called fake: {called[False]} of {len(clips) - fakes}; fake called fake: {called[True]} of {fakes}"


def _row(name: str, clips: Sides, pictures: Sides, calibration: Calibration) -> str:
    columns = []
    for real, fake in (clips, pictures):
        low, high = interval(real, fake, auc)
        columns.append(f"{auc(real.ravel(), fake.ravel()):.3f} [{low:.3f}, {high:.3f}]  ")
    alarms, found = (float(np.mean(calibration.p_fake(side) > FAKE_ABOVE)) for side in clips)
    error = eer(clips[0].ravel(), clips[1].ravel())
    return f"{name:15} {''.join(columns)}{error:.3f}  {alarms:.3f}              {found:.3f}"


def _stacked(levels: list[Sides]) -> Sides:
    """`(levels, persons)`, so that the bootstrap draws persons, not pictures of them."""
    return np.stack([real for real, _ in levels]), np.stack([fake for _, fake in levels])


def _clip_logits(views: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.array([trimmed_mean(row) for row in views], np.float64)


def _views(
    rgb: NDArray[np.uint8], portrait: Portrait, level: Degradation, framings: list[Degradation]
) -> NDArray[np.uint8]:
    histories = [replace(level, flip=f.flip, shift_xy=f.shift_xy, scale=f.scale) for f in framings]
    return np.stack([degrade(rgb, portrait.box_xyxy, how, VIEW.margin, VIEW.size) for how in histories])


def _logits(detector: MobileNetSbi, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    score = detector.decide(detector.encode(crops), np.zeros(len(crops)))
    return np.array(score.per_frame_logits, np.float32)


def main() -> None:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(description="Measure mobilenet-sbi on the validation portraits.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the development data")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors file")
    parser.add_argument("--boxes", type=Path, default=Path("training/runs/boxes.json"), help="cache of face boxes")
    parser.add_argument("--clips", action="store_true", help="also the development clips; not for release")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(0)
    detector = load(Recipe("mobilenet-sbi", {"weights": args.weights}, VIEW))
    portraits = load_portraits(args.data, "val", args.boxes)
    levels = {name: score_level(detector, portraits, level) for name, level in LEVELS.items()}
    calibration = fit_calibration(levels)
    print(f"{len(portraits)} persons, {VIEWS} views each; calibration scale {calibration.scale:.4f} ", end="")
    print(f"bias {calibration.bias:.4f}; called fake above p = {FAKE_ABOVE}")
    sides = np.array([float(np.max(p.box_xyxy[2:] - p.box_xyxy[:2])) for p in portraits])
    print("\n".join(report(levels, sides, calibration)))
    if args.clips:
        print("\n".join(report_clips(detector, args.data, calibration)))


if __name__ == "__main__":
    main()
