"""Records as an evaluation makes them, without any media."""

import numpy as np

from training.evaluation.measures import Measures
from training.evaluation.records import DetectorScore, Record


def recorded(
    count: int, *, skill: float = 2.0, shortcut: bool = False, detector: str = "mobilenet-sbi-v1"
) -> list[Record]:
    """So many reals and as many fakes, each in a group of its own.

    Args:
        count: of either class.
        skill: distance of the two classes' mean logits, in standard deviations.
        shortcut: whether fakes are larger files; else sizes are random.
        detector: that scored them, without any calibration.
    """
    rng = np.random.default_rng(7)
    return [_one(i, bool(i % 2), rng, skill, shortcut=shortcut, detector=detector) for i in range(2 * count)]


def _one(number: int, fake: bool, rng: np.random.Generator, skill: float, *, shortcut: bool, detector: str) -> Record:
    logit = float(rng.normal(skill * (fake - 0.5)))
    p_fake = float(1 / (1 + np.exp(-logit)))
    verdict = "FAKE" if p_fake > 0.6 else "REAL" if p_fake < 0.4 else "UNDETERMINED"
    size_bytes = int(rng.integers(1000, 2000)) + 5000 * (shortcut and fake)
    return Record(
        name=f"{number}.mp4",
        fake=fake,
        group=f"g{number}",
        source="street" if number % 4 < 2 else "studio",
        manipulation="swap" if fake else "",
        variant="",
        basis="b",
        sha256="0",
        verdict=verdict,
        p_fake=p_fake,
        frames=2,
        frame_p_fake=(p_fake, p_fake),
        detectors=(DetectorScore(detector, "ok", p_fake, logit),),
        kind="video",
        measures=Measures(size_bytes, duration_s=2.0, width=640),
    )
