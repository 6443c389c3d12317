from pathlib import Path

import pytest

from models.errors import CatalogueError
from models.faces.find import FaceFinder
from models.faces.tools import FaceTools
from models.faces.yunet import YuNetFinder
from models.types import View
from tests.checkpoints import published

FIVE = View("face", 32, align="five_points")


def test_without_files_faces_are_found_by_hog_and_there_are_no_landmarks() -> None:
    assert isinstance(FaceTools().finder(), FaceFinder)
    assert FaceTools().predictor() is None


def test_with_its_file_yunet_finds_faces() -> None:
    assert isinstance(FaceTools(published("yunet_n_640_640.onnx")).finder(), YuNetFinder)


def test_a_view_that_needs_points_is_refused_with_hog_by_the_setting_and_the_command() -> None:
    with pytest.raises(
        CatalogueError, match=r"gend has `align: five_points`.*models pull yunet.*UNMASK_FACE_FINDER=yunet"
    ):
        FaceTools().check(FIVE, "gend")


@pytest.mark.parametrize("view", [View("face", 32), View("face", 32, align="landmarks"), View("audio", 16000)])
def test_other_views_need_no_points(view: View) -> None:
    FaceTools().check(view)


def test_yunet_gives_the_points_that_a_view_needs() -> None:
    FaceTools(Path("yunet.onnx")).check(FIVE)
