from pathlib import Path

import pytest
import yaml

from models.errors import CatalogueError, NotInstalled, WeightsError
from models.faces.tools import FaceTools
from serve_app.settings import Settings, SettingsError
from tests.checkpoints import published
from tests.unit.faces.predictor import write_predictor

SHA256 = "25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31"


def settings(folder: Path, weights: dict[str, str], align: str = "box", **values: str) -> Settings:
    """Settings on a catalogue of one bundled detector and one face finder."""
    row = {"revision": "1", "summary": "s", "licence": "l", "usage": "u"}
    bundled = {"bundled": "mobilenet-sbi-v1.safetensors", "sha256": "0" * 64}
    view = {"region": "face", "size": 160, "align": align}
    detector = {"id": "seer", "architecture": "mobilenet_sbi", "files": {"weights": bundled}, "view": view, **row}
    tool = {"id": "yunet", "architecture": "yunet", "files": {"weights": weights}, **row}
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump({"models": [detector], "tools": [tool]}))
    return Settings.model_validate({"UNMASK_CATALOGUE": path, "UNMASK_MODELS_DIR": folder / "models", **values})


def tools(chosen: Settings) -> FaceTools:
    return chosen.face_tools(chosen.read_catalogue())


def pulled() -> dict[str, str]:
    return {"url": "https://example.org/yunet.onnx", "sha256": SHA256}


def here() -> dict[str, str]:
    return {"path": str(published("yunet_n_640_640.onnx")), "sha256": SHA256}


def test_by_default_no_file_is_needed(tmp_path: Path) -> None:
    assert tools(settings(tmp_path, pulled())) == FaceTools()


def test_a_face_finder_that_is_not_installed_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(NotInstalled, match="unmask models pull yunet"):
        tools(settings(tmp_path, pulled(), UNMASK_FACE_FINDER="yunet"))


def test_an_unknown_face_finder_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"UNMASK_FACE_FINDER is 'seer'\. There are: hog, yunet\."):
        tools(settings(tmp_path, pulled(), UNMASK_FACE_FINDER="seer"))


def test_the_file_of_the_face_finder_comes_from_the_catalogue(tmp_path: Path) -> None:
    found = tools(settings(tmp_path, here(), "five_points", UNMASK_FACE_FINDER="yunet"))
    assert found == FaceTools(published("yunet_n_640_640.onnx"))


def test_a_served_detector_that_needs_points_is_refused_by_name_with_hog(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="seer has `align: five_points`"):
        tools(settings(tmp_path, pulled(), "five_points"))


def test_a_face_finder_of_another_content_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "yunet.onnx"
    wrong.write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="altered"):
        tools(settings(tmp_path, {"path": str(wrong), "sha256": SHA256}, UNMASK_FACE_FINDER="yunet"))


def test_a_predictor_of_landmarks_is_used_if_it_is_one(tmp_path: Path) -> None:
    path = write_predictor(tmp_path / "68.dat")
    assert tools(settings(tmp_path, pulled(), UNMASK_LANDMARKS=str(path))) == FaceTools(landmarks=path)


def test_a_wrong_predictor_of_landmarks_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="UNMASK_LANDMARKS"):
        tools(settings(tmp_path, pulled(), UNMASK_LANDMARKS=str(tmp_path / "absent.dat")))
