from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.detectors.contract import Recipe
from models.detectors.mobilenet_sbi import MobileNetV2
from models.detectors.siglip_lstm import load
from models.types import View
from training.forgeries.families import FAMILIES
from training.recipes.recipe import write_half
from training.recipes.siglip_encoder import (
    BATCH_PAIRS,
    PATCHES,
    SEEN_PATCHES,
    VIEW,
    WIDTH,
    EncoderTask,
    Lessons,
    Student,
    features_of,
    gathered,
    lesson,
    new_student,
    teach,
    whitening_filters,
)
from training.recipes.siglip_lstm import (
    FRAMES,
    SHORT,
    LstmTask,
    Tracks,
    even_moments,
    fingerprint,
    moments,
    new_net,
)

FEW = 900  # patches: enough for their 768 values


@pytest.fixture(scope="module")
def crops() -> NDArray[np.uint8]:
    """As many pairs as a batch has: noise that is smooth in the real one."""
    rng = np.random.default_rng(1)
    rough = rng.integers(0, 256, (BATCH_PAIRS, VIEW.size, VIEW.size, 3), np.uint8)
    smooth = rng.integers(0, 256, (BATCH_PAIRS, 10, 10, 3), np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    return np.stack([smooth, rough], axis=1)


@pytest.fixture(scope="module")
def lessons(crops: NDArray[np.uint8]) -> Lessons:
    torch.manual_seed(3)
    return teach(MobileNetV2().eval(), crops)


@pytest.fixture(scope="module")
def student(crops: NDArray[np.uint8]) -> Student:
    return new_student(crops, 1, FEW)


@pytest.fixture
def tracks() -> Tracks:
    """Two pairs of clips of every family; forged ones have other features."""
    rng = np.random.default_rng(2)
    features = rng.standard_normal((2 * len(FAMILIES), 2, FRAMES, WIDTH)).astype(np.float32)
    features[:, 1] += 1
    return Tracks(features, np.array(FAMILIES * 2))


def test_the_answers_of_whitening_filters_have_mean_0_and_a_like_spread() -> None:
    rng = np.random.default_rng(0)
    patches = rng.standard_normal((4000, 40)) * np.geomspace(0.1, 10, 40) + 5
    filters, bias = whitening_filters(patches, 20, 8, rng)
    answers = patches @ filters.T + bias
    assert np.abs(answers.mean(axis=0)).max() < 1e-6
    assert answers.std(axis=0) == pytest.approx(1, abs=0.01)


def test_the_teachers_map_lies_as_the_patches_do(crops: NDArray[np.uint8], lessons: Lessons) -> None:
    assert lessons.maps.shape == (BATCH_PAIRS, 2, PATCHES, 96)
    brighter = crops.copy()
    brighter[0, 0, :32, :32] = 255
    torch.manual_seed(3)
    moved = (teach(MobileNetV2().eval(), brighter).maps - lessons.maps)[0, 0].float().abs().sum(dim=1).reshape(10, 10)
    assert moved[:3, :3].mean() > 3 * moved[-3:, -3:].mean()


def test_a_mirrored_lesson_mirrors_picture_and_map_alike(lessons: Lessons) -> None:
    crops, maps, *_ = lesson(lessons, np.array([1]), mirrored=False)
    crops_mirrored, maps_mirrored, *_ = lesson(lessons, np.array([1]), mirrored=True)
    assert torch.equal(crops[:, :, :, 0], crops_mirrored[:, :, :, -1])
    assert torch.equal(maps[:, :, 0], maps_mirrored[:, :, 9])


def test_a_student_that_sees_all_patches_says_what_the_detectors_encoder_says(
    crops: NDArray[np.uint8], student: Student
) -> None:
    kept = torch.arange(PATCHES).expand(2, -1)
    with torch.inference_mode():
        pooled, _ = student.eval()(torch.from_numpy(crops[0]), kept)
    assert pooled.numpy() == pytest.approx(features_of(student, crops[0]), abs=1e-5)


def test_rows_are_gathered_one_by_one() -> None:
    rows = torch.arange(12.0).reshape(2, 3, 2)
    assert gathered(rows, torch.tensor([[2], [0]])).tolist() == [[[4.0, 5.0]], [[6.0, 7.0]]]


def test_batches_depend_on_the_seed_and_the_step_alone(student: Student, lessons: Lessons) -> None:
    whole, rest = (list(EncoderTask(student, lessons, {}, 5).batches(first, 3)) for first in (0, 2))
    assert all(torch.equal(a, b) for a, b in zip(whole[2], rest[0], strict=True))
    assert whole[0][-1].shape == (BATCH_PAIRS, 2, SEEN_PATCHES)
    assert torch.equal(whole[0][-1][:, 0], whole[0][-1][:, 1])


def test_the_encoder_learns_from_its_lessons(crops: NDArray[np.uint8], lessons: Lessons) -> None:
    task = EncoderTask(new_student(crops, 2, FEW), lessons, dict.fromkeys(FAMILIES, crops[:2]), 5)
    optimiser = torch.optim.AdamW(task.net.parameters(), 1e-3)
    losses = []
    for batch in task.batches(0, 4):
        loss = task.loss(task.net, batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert set(task.validate(task.net)) == {"auc", *FAMILIES}


@pytest.mark.parametrize("length", [SHORT, FRAMES])
def test_a_sequence_stays_within_the_clip_and_may_be_short_a_still_or_backwards(length: int) -> None:
    drawn = [moments(length, np.random.default_rng(seed)) for seed in range(200)]
    assert all(shown.shape == (length,) and shown.min() >= 0 and shown.max() < FRAMES for shown in drawn)
    changing = [np.unique(np.diff(shown)) for shown in drawn]
    assert any(steps.tolist() == [0] for steps in changing)
    assert any((steps < 0).all() for steps in changing)
    assert any((steps > 0).all() for steps in changing)
    assert any(steps[0] == 0 < steps[-1] for steps in changing)


def test_the_moments_of_v1_are_among_those_of_v3() -> None:
    assert even_moments(SHORT).tolist() == list(range(0, FRAMES, 2))
    assert even_moments(FRAMES).tolist() == list(range(FRAMES))


def test_the_lstm_learns_while_the_encoder_stays(student: Student, tracks: Tracks) -> None:
    net = new_net({k: v for k, v in student.state_dict().items() if k.startswith(("siglip", "image"))}, 1)
    task = LstmTask(net, tracks, tracks, (FRAMES, SHORT), 1)
    before = fingerprint(net.siglip_backbone)
    optimiser = torch.optim.AdamW((p for p in net.parameters() if p.requires_grad), 1e-2)
    for batch in task.batches(0, 12):
        optimiser.zero_grad()
        task.loss(net, batch).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    figures = task.validate(net.eval())
    assert set(figures) == {"auc", *FAMILIES, "stills"}
    assert figures["auc"] > 0.9
    assert fingerprint(net.siglip_backbone) == before


def test_what_is_written_loads_as_the_detector_and_scores_stills_and_clips(
    student: Student, crops: NDArray[np.uint8], tmp_path: Path
) -> None:
    net = new_net({k: v for k, v in student.state_dict().items() if k.startswith(("siglip", "image"))}, 1)
    weights = write_half(net, tmp_path / "weights.safetensors")
    view = View(region="face", size=VIEW.size, margin=0.3, count=FRAMES)
    options = {"attention_heads": 6, "window_frames": SHORT}
    detector = load(Recipe("siglip", {"weights": weights}, view, ("fake",), options))
    features = detector.encode(crops[:, 0])
    assert features == pytest.approx(features_of(net, crops[:, 0]), abs=0.1)  # half precision
    assert len(detector.decide(features[:1], np.zeros(1)).per_window_logits) == 1
