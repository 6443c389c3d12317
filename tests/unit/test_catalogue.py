import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.detectors.catalogue import CATALOGUE_FILE, read_catalogue
from models.detectors.weights import verified
from models.errors import CatalogueError, UnknownModel, WeightsError


@pytest.fixture
def content() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(CATALOGUE_FILE.read_text("utf-8"))
    return loaded


def written(content: dict[str, Any], folder: Path) -> Path:
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


def test_the_catalogue_in_the_repository_is_valid() -> None:
    catalogue = read_catalogue()
    assert "mobilenet-sbi-v1" in catalogue.ids
    assert catalogue.verdict.real_below < catalogue.verdict.fake_above


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ((), "modls"),
        (("verdict",), "fake_abov"),
        (("models", 0), "licens"),
        (("models", 0, "view"), "frames"),
        (("models", 0, "files", "weights"), "md5"),
        (("models", 0, "calibration"), "temperature"),
        (("models", 0, "share"), "gpus"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_it(
    content: dict[str, Any], tmp_path: Path, path: tuple[str | int, ...], key: str
) -> None:
    part: Any = content
    for step in path:
        part = part[step]
    part[key] = 1
    with pytest.raises(CatalogueError, match=rf"{key}: unknown key"):
        read_catalogue(written(content, tmp_path))


def test_a_file_whose_name_leads_out_of_its_models_folder_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    content["models"][0]["files"]["../weights"] = content["models"][0]["files"]["weights"]
    with pytest.raises(CatalogueError, match=r"files\.\.\./weights"):
        read_catalogue(written(content, tmp_path))


def test_two_rows_of_one_id_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    content["models"].append(content["models"][0])
    with pytest.raises(CatalogueError, match=r"more than one row has the id mobilenet-sbi-v1"):
        read_catalogue(written(content, tmp_path))


def test_a_catalogue_with_no_row_enabled_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    for row in content["models"]:
        row["enabled"] = False
    with pytest.raises(CatalogueError, match="no row is enabled"):
        read_catalogue(written(content, tmp_path))


def test_bounds_in_the_wrong_order_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    content["verdict"] = {"real_below": 0.7, "fake_above": 0.3}
    with pytest.raises(CatalogueError, match="real_below"):
        read_catalogue(written(content, tmp_path))


@pytest.mark.parametrize("cascade", [{"real_below": 0.45}, {"fake_above": 0.55}])
def test_a_cascade_that_would_stop_at_undetermined_is_refused(
    content: dict[str, Any], tmp_path: Path, cascade: dict[str, float]
) -> None:
    content["cascade"] = cascade
    with pytest.raises(CatalogueError, match="it would stop at UNDETERMINED"):
        read_catalogue(written(content, tmp_path))


@pytest.mark.parametrize("name", ["ensemble", "cascade"])
def test_a_row_cannot_have_the_name_of_a_mode(content: dict[str, Any], tmp_path: Path, name: str) -> None:
    content["models"][0]["id"] = name
    with pytest.raises(CatalogueError, match=f"{name} cannot be the id of a row"):
        read_catalogue(written(content, tmp_path))


def test_a_missing_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"nowhere\.yaml cannot be read"):
        read_catalogue(tmp_path / "nowhere.yaml")


def test_an_unknown_model_names_those_there_are() -> None:
    with pytest.raises(
        UnknownModel, match=r"no model 'siglip-lstm-v9'.*Available: ensemble, cascade, mobilenet-sbi-v1"
    ):
        read_catalogue().choose("siglip-lstm-v9")


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ({}, "exactly one of bundled, url, huggingface and path"),
        ({"url": "https://x.org/w", "path": "/w"}, "exactly one of bundled, url, huggingface and path"),
        ({"url": "https://x.org/w"}, "a url file needs its sha256"),
        ({"bundled": "w"}, "a bundled file needs its sha256"),
        ({"huggingface": "a/b", "file": "w"}, "needs its revision"),
        ({"url": "file:///etc/passwd", "sha256": "0" * 64}, "String should match pattern"),
    ],
)
def test_a_file_says_exactly_where_it_is_from(
    content: dict[str, Any], tmp_path: Path, file: dict[str, str], problem: str
) -> None:
    content["models"][0]["files"] = {"weights": file}
    with pytest.raises(CatalogueError, match=problem):
        read_catalogue(written(content, tmp_path))


@pytest.mark.parametrize(
    ("view", "problem"),
    [
        ({"region": "audio", "size": 64000}, "fit squash is none of region audio, which has pad, repeat"),
        ({"region": "frame", "size": 224, "fit": "repeat"}, "fit repeat is none of region frame"),
        ({"region": "frame", "size": 224, "align": "five_points"}, "align five_points is for faces"),
        ({"region": "face", "size": 224, "count": 0}, "greater than or equal to 1"),
    ],
)
def test_a_view_that_makes_no_sense_is_refused(
    content: dict[str, Any], tmp_path: Path, view: dict[str, Any], problem: str
) -> None:
    content["models"][0]["view"] = view
    with pytest.raises(CatalogueError, match=problem):
        read_catalogue(written(content, tmp_path))


def test_files_without_weights_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    content["models"][0]["files"] = {"config": {"path": "/w"}}
    with pytest.raises(CatalogueError, match="one of the files must be named weights"):
        read_catalogue(written(content, tmp_path))


def test_an_architecture_that_is_not_built_here_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    content["models"][0]["architecture"] = "oracle"
    with pytest.raises(CatalogueError, match=r"there is no models/detectors/oracle\.py"):
        read_catalogue(written(content, tmp_path))


@pytest.mark.parametrize("module", ["labels", "clip_tower", "catalogue"])
def test_a_module_that_builds_no_detector_is_no_architecture(
    content: dict[str, Any], tmp_path: Path, module: str
) -> None:
    content["models"][0]["architecture"] = module
    with pytest.raises(CatalogueError, match=rf"{module}\.py is no architecture"):
        read_catalogue(written(content, tmp_path))


def test_settings_choose_which_rows_are_served(content: dict[str, Any], tmp_path: Path) -> None:
    content["models"].append({**content["models"][0], "id": "other", "enabled": False})
    path = written(content, tmp_path)
    assert "other" not in read_catalogue(path).ids
    assert read_catalogue(path, ["other"]).ids == ("other",)
    with pytest.raises(CatalogueError, match=r"no model nothing, which is to be served"):
        read_catalogue(path, ["other", "nothing"])


def test_what_answers_by_name_only_has_no_part_in_ensemble_and_cascade(content: dict[str, Any], tmp_path: Path) -> None:
    content["models"].append({**content["models"][0], "id": "other", "by_name_only": True})
    path = written(content, tmp_path)
    catalogue = read_catalogue(path)
    assert "other" in catalogue.ids
    for together in ("ensemble", "cascade"):
        assert "other" not in [row.id for row in catalogue.choose(together)]
    assert [row.id for row in catalogue.choose("other")] == ["other"]


def test_where_nothing_else_is_served_what_answers_by_name_only_is_the_ensemble(
    content: dict[str, Any], tmp_path: Path
) -> None:
    content["models"].append({**content["models"][0], "id": "other", "by_name_only": True})
    served = read_catalogue(written(content, tmp_path), ["other"])
    assert [row.id for row in served.choose("ensemble")] == ["other"]


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert verified(file, expected) == file
    file.write_bytes(b"weighty")
    with pytest.raises(WeightsError, match="were altered"):
        verified(file, expected)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.safetensors cannot be read"):
        verified(tmp_path / "gone.safetensors", "0" * 64)
