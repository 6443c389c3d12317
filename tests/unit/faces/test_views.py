"""Views of faces through the whole extractor, with each of the face tools."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import CatalogueError
from models.extraction import Extractor
from models.faces.align import TEMPLATE, rectangle_crop
from models.faces.tools import FaceTools
from models.faces.yunet import YuNetFinder
from models.media.limits import Limits
from models.types import View
from tests.checkpoints import published
from tests.media import clip_from_frames
from tests.unit.faces.predictor import write_predictor

BOX = View("face", 64, margin=0.3, count=4)
FIVE = View("face", 256, margin=0.15, count=4, align="five_points", resample="bilinear")
LANDMARKS = View("face", 64, margin=0.1, count=4, align="landmarks", margin_px=20, resample="nearest")


@pytest.fixture(scope="module")
def talking(portrait: NDArray[np.uint8]) -> bytes:
    """8 frames of 960x540 in which the portrait drifts."""
    frames = []
    for i in range(8):
        frame = np.full((540, 960, 3), 90, np.uint8)
        frame[:512, 100 + 8 * i : 612 + 8 * i] = portrait
        frames.append(frame)
    return clip_from_frames(frames)


def extract(media: bytes, tools: FaceTools, *views: View, limits: Limits | None = None) -> Any:
    return Extractor(limits or Limits(), tools=tools).extract(np.frombuffer(media, np.uint8), "00", views)


def test_five_points_bring_the_eyes_to_their_places_in_every_frame(talking: bytes) -> None:
    yunet = published("yunet_n_640_640.onnx")
    _, clips = extract(talking, FaceTools(yunet), FIVE)
    expected = (TEMPLATE + 0.15) / 1.3 * 256
    assert clips[FIVE][0].data.shape == (4, 256, 256, 3)
    for crop in clips[FIVE][0].data:
        (found,) = YuNetFinder(yunet).search(crop)
        assert found.points == pytest.approx(expected, abs=13)  # a twentieth of the crop


def test_five_points_without_a_finder_that_gives_them_are_refused(talking: bytes) -> None:
    with pytest.raises(CatalogueError, match="UNMASK_FACE_FINDER=yunet"):
        extract(talking, FaceTools(), FIVE)


def test_either_finder_gives_detectors_the_same_squares(talking: bytes) -> None:
    hog, yunet = (
        extract(talking, tools, BOX)[0].tracks[0].boxes_xyxy
        for tools in (FaceTools(), FaceTools(published("yunet_n_640_640.onnx")))
    )
    side = hog[:, 2] - hog[:, 0]
    assert np.abs(hog - yunet).max() < 0.15 * side.min()


def test_without_a_predictor_landmarks_are_the_face_box_with_the_views_margin(talking: bytes) -> None:
    box = View("face", 64, margin=0.1, count=4, resample="nearest")
    _, clips = extract(talking, FaceTools(), LANDMARKS, box)
    assert np.array_equal(clips[LANDMARKS][0].data, clips[box][0].data)


@pytest.mark.parametrize("working_side", [1920, 480])
def test_with_a_predictor_the_margin_is_in_pixels_of_the_picture(
    talking: bytes, tmp_path: Path, working_side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    margins = []

    def watched(*args: Any) -> NDArray[np.uint8]:
        margins.append(args[2])
        return rectangle_crop(*args)

    monkeypatch.setattr("models.extraction.rectangle_crop", watched)
    tools = FaceTools(landmarks=write_predictor(tmp_path / "68.dat"))
    _, clips = extract(talking, tools, LANDMARKS, limits=Limits(working_side=working_side))
    assert len(clips[LANDMARKS][0].data) == len(margins) == 4
    assert set(margins) == {20 * min(working_side, 960) / 960}


def test_a_view_is_resampled_as_it_says(talking: bytes) -> None:
    views = [View("frame", 48, count=2, resample=how) for how in ("area", "nearest", "lanczos")]
    _, clips = extract(talking, FaceTools(), *views)
    area, nearest, lanczos = (clips[view][0].data.astype(int) for view in views)
    assert np.abs(area - nearest).max() > 20
    assert np.abs(area - lanczos).max() > 0
