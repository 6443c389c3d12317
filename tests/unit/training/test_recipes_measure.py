import hashlib
from pathlib import Path

import pytest

from models.detectors.catalogue import CATALOGUE_FILE, read_catalogue
from models.detectors.store import ROOT
from training.recipes.errors import TrainingError
from training.recipes.measure import Measurement, measured, with_weights

MODEL = "mobilenet-sbi-v1"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The bundled file, as a training run would leave it."""
    path = tmp_path / "fresh.safetensors"
    path.write_bytes((ROOT / "models" / "weights" / f"{MODEL}.safetensors").read_bytes())
    return path


def test_only_the_weights_of_the_row_differ(tmp_path: Path, weights: Path) -> None:
    copy = tmp_path / "models.yaml"
    copy.write_text(with_weights(CATALOGUE_FILE.read_text("utf-8"), MODEL, weights), "utf-8")
    before, after = read_catalogue(), read_catalogue(copy)
    file = after.row(MODEL).files["weights"]
    assert (file.path, file.sha256) == (str(weights), hashlib.sha256(weights.read_bytes()).hexdigest())
    restored = after.row(MODEL).model_copy(update={"files": before.row(MODEL).files})
    assert restored == before.row(MODEL)
    assert after.every[1:] == before.every[1:]


def test_a_row_that_is_not_there_is_named() -> None:
    with pytest.raises(TrainingError, match="no row nothing"):
        with_weights(CATALOGUE_FILE.read_text("utf-8"), "nothing", None)


def test_fresh_weights_are_calibrated_and_measured_while_the_project_stays_as_it_was(
    tmp_path: Path, weights: Path
) -> None:
    lines = ["path,label,group"]
    for number in range(5):
        for label, asset in (("real", "sample_real.mp4"), ("fake", "sample_forged.mp4")):
            name = f"{label}{number}.mp4"
            (tmp_path / name).write_bytes((ROOT / "assets" / asset).read_bytes())
            lines.append(f"{name},{label},{number}")
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join(lines) + "\n", "utf-8")
    before = CATALOGUE_FILE.read_bytes()
    summary = measured(Measurement(MODEL, weights, manifest, tmp_path / "out", name="samples"))
    row = read_catalogue(tmp_path / "out" / "models.yaml").row(MODEL)
    told = summary["provenance"]["rows"][0]
    assert (told["scale"], told["bias"]) == (row.calibration.scale, row.calibration.bias)
    assert row.calibration != read_catalogue().row(MODEL).calibration
    assert any(line.startswith("samples, all items (") for line in row.measured)
    assert summary["figures"]["auc"]["value"] == 1
    assert CATALOGUE_FILE.read_bytes() == before
