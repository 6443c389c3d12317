from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.detectors.catalogue import read_catalogue
from serve_app.cli import app
from serve_app.terminal import EXIT_USAGE

# Shape and keys as in that server's README, and one class that nothing here is built for.
THEIRS = """\
models:
  siglip-lstm-v3:
    class_name: "LSTMDetectorV3"
    model_path: "models/siglip_lstm_best.pth"
    device: "cuda"
    num_frames: 32
    batch_size: 8
    mixed_precision: true
  siglip-lstm-v1:
    class_name: "LSTMDetector"
    model_path: "models/siglip_lstm_best.pth"
    device: "cuda"
  color-cues-lstm-v1:
    class_name: "ColorCuesDetector"
    model_path: "models/best_color_cues_lstm_model.pth"
    device: "cuda"
    temporal_window: 10
    dlib_model_path: "models/shape_predictor_68_face_landmarks.dat"
  eyeblink-v1:
    class_name: "EyeblinkDetector"
    model_path: "models/eyes.pth"
load_balancing:
  max_concurrent_requests: 4
  request_timeout: 300
  memory_threshold: 0.85
  health_check_interval: 60
"""
runner = CliRunner()


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    file = tmp_path / "configs" / "config.yaml"
    file.write_text(THEIRS)
    return file


def test_settings_come_as_lines_for_env(theirs: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["config", "import", str(theirs)])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"UNMASK_CATALOGUE={tmp_path}/unmask-models.yaml",
        "UNMASK_MODELS=siglip-lstm-v3,siglip-lstm-v1,color-cues-lstm-v1",
        "UNMASK_MAX_CONCURRENT_REQUESTS=4",
        "UNMASK_REQUEST_TIMEOUT_S=300",
        "UNMASK_PRECISION=fp16",
        f"UNMASK_LANDMARKS={tmp_path}/models/shape_predictor_68_face_landmarks.dat",
    ]


def test_models_become_rows_under_their_own_ids_and_with_their_figures(theirs: Path, tmp_path: Path) -> None:
    runner.invoke(app, ["config", "import", str(theirs)])
    catalogue = read_catalogue(tmp_path / "unmask-models.yaml", ["siglip-lstm-v3", "color-cues-lstm-v1"])
    siglip, cues = catalogue.rows
    assert (siglip.architecture, siglip.view.region) == ("siglip_lstm", "frame")
    assert (siglip.view.count, siglip.share.batch_frames) == (32, 8)
    assert (cues.architecture, cues.options["window"], cues.view.minimum) == ("color_cues_lstm", 10, 10)
    assert siglip.files["weights"].path == cues.files["weights"].path == ""


def test_what_else_the_catalogue_has_stays(theirs: Path, tmp_path: Path) -> None:
    runner.invoke(app, ["config", "import", str(theirs)])
    ids = {row.id for row in read_catalogue(tmp_path / "unmask-models.yaml").every}
    assert ids == {row.id for row in read_catalogue().every}


def test_each_checkpoint_has_the_command_that_brings_it_in(theirs: Path, tmp_path: Path) -> None:
    said = runner.invoke(app, ["config", "import", str(theirs)]).stderr
    file = tmp_path / "models/siglip_lstm_best.pth"
    assert f"unmask models convert {file} --as siglip_lstm --id siglip-lstm-v3" in said
    assert "--profile configs/serve/gpu.yaml" in said


@pytest.mark.parametrize(
    "words",
    [
        "eyeblink-v1 was left out",
        "memory_threshold has no counterpart",
        "one vote counted twice",
        "is now your checkpoint",
    ],
)
def test_what_has_no_counterpart_is_named(theirs: Path, words: str) -> None:
    assert words in runner.invoke(app, ["config", "import", str(theirs)]).stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("models: [", "cannot be read as YAML"),
        ("models: {}", "no configuration of a Drishtiksha server"),
        ("models: {a-b: {class_name: Other, model_path: x}}", "no model that can be taken over"),
        ("models: {siglip-lstm-v1: {class_name: LSTM, model_path: x, num_frames: 0}}", "num_frames"),
    ],
)
def test_a_file_of_another_kind_is_refused(theirs: Path, tmp_path: Path, content: str, words: str) -> None:
    theirs.write_text(content)
    result = runner.invoke(app, ["config", "import", str(theirs)])
    assert result.exit_code == EXIT_USAGE
    assert words in result.stderr
    assert not (tmp_path / "unmask-models.yaml").exists()


def test_a_catalogue_that_is_there_is_not_overwritten(theirs: Path, tmp_path: Path) -> None:
    (tmp_path / "unmask-models.yaml").write_text("mine")
    assert runner.invoke(app, ["config", "import", str(theirs)]).exit_code == EXIT_USAGE
    assert (tmp_path / "unmask-models.yaml").read_text() == "mine"
