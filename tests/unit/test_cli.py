import json
import shutil
from pathlib import Path

import av
import pytest
from PIL import Image
from typer.testing import CliRunner

from models.detectors.store import ROOT
from serve_app.cli import app
from serve_app.terminal import EXIT_FAILED, EXIT_FOUND, EXIT_USAGE
from tests.media import sound_only, tone

KEYS = {"path", "verdict", "p_fake", "confidence", "reason"}
runner = CliRunner()


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_file_is_one_json_line_when_piped() -> None:
    clips = [str(ROOT / "assets" / name) for name in ("sample_real.mp4", "sample_forged.mp4")]
    result = runner.invoke(app, ["analyze", *clips])
    assert result.exit_code == 0, result.output
    real, forged = lines(result.stdout)
    assert [real["path"], forged["path"]] == clips
    assert real.keys() >= KEYS
    assert forged["verdict"] == "FAKE"
    assert real["verdict"] != "FAKE"


def test_a_bad_file_fails_alone_with_exit_code_3(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video\n" * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    files = [text, empty, tmp_path / "gone.mp4", tmp_path, ROOT / "assets/sample_real.mp4"]
    result = runner.invoke(app, ["analyze", *map(str, files)])
    assert result.exit_code == EXIT_FAILED
    found = lines(result.stdout)
    assert [line.get("error") for line in found] == [
        "unsupported_media",
        "empty_media",
        "cannot_read_file",
        "cannot_read_file",
        None,
    ]
    assert all(line.keys() >= KEYS and line["reason"] for line in found[:4])
    assert found[4]["p_fake"] is not None


def test_an_unknown_model_is_exit_code_2_and_names_those_there_are() -> None:
    result = runner.invoke(app, ["analyze", "--model", "nope", str(ROOT / "assets/sample_real.mp4")])
    assert result.exit_code == EXIT_USAGE
    assert "mobilenet-sbi-v1" in result.stderr


@pytest.mark.parametrize("arguments", [["analyze"], ["analyze", "--nope"], ["nope"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert runner.invoke(app, arguments).exit_code == EXIT_USAGE


def test_a_server_that_does_not_answer_is_exit_code_3() -> None:
    clip = str(ROOT / "assets/sample_real.mp4")
    result = runner.invoke(app, ["analyze", "--url", "http://127.0.0.1:9", "--key", "k" * 40, clip])
    assert result.exit_code == EXIT_FAILED
    assert lines(result.stdout)[0]["error"] == "unreachable"


def test_models_list_prints_a_line_per_model() -> None:
    result = runner.invoke(app, ["models", "list", "--json"])
    assert result.exit_code == 0
    assert {line["id"] for line in lines(result.stdout)} >= {"mobilenet-sbi-v1"}


def test_key_prints_a_key_that_the_settings_accept() -> None:
    assert len(runner.invoke(app, ["key"]).stdout.strip()) >= 32


@pytest.mark.parametrize("command", ["evaluate", "calibrate"])
def test_a_command_of_training_says_which_packages_it_lacks(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.cli.TRAINING_PACKAGES", ("sklearn", "no_such_package"))
    result = runner.invoke(app, [command, "manifest.csv"])
    assert result.exit_code == EXIT_USAGE
    assert "needs no_such_package, which serving does not" in result.stderr
    assert '".[training]"' in result.stderr


def test_explain_writes_faces_and_maps_as_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "maps"
    clip = ROOT / "assets/sample_forged.mp4"
    result = runner.invoke(app, ["analyze", "--explain", str(folder), str(clip)])
    assert result.exit_code == 0, result.output
    (below,) = folder.iterdir()
    assert below.name.startswith("sample_forged-")
    names = [path.name for path in below.iterdir()]
    assert names.count("face-0.jpg") == 1
    assert sum(name.endswith("-mobilenet-sbi-v1-grad_cam.png") for name in names) == 3
    assert sum(name.endswith("-mobilenet-sbi-v1-crop.png") for name in names) == 3
    for path in below.iterdir():
        with Image.open(path) as picture:
            assert max(picture.size) <= 256
    assert lines(result.stdout)[0]["evidence"]["sentence"].startswith("The face seen from")  # type: ignore[index]


def test_a_folder_for_explanations_that_cannot_be_made_is_refused_before_anything_is_analysed(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.touch()
    result = runner.invoke(app, ["analyze", "--explain", str(taken), str(ROOT / "assets/sample_real.mp4")])
    assert result.exit_code == EXIT_USAGE
    assert "cannot be made" in result.stderr
    assert result.stdout == ""


def test_visualize_writes_the_drawn_copy_beside_the_file(tmp_path: Path) -> None:
    sent = tmp_path / "видео.mp4"
    shutil.copy(ROOT / "assets/sample_forged.mp4", sent)
    result = runner.invoke(app, ["visualize", str(sent)])
    assert result.exit_code == 0, result.output
    assert "FAKE" in result.stdout
    with av.open(tmp_path / "видео.unmask.mp4") as film:
        assert film.streams.video[0].codec_context.name == "h264"


@pytest.mark.parametrize(("sent", "said"), [("sample_forged.mp4", False), ("tone.wav", True)])
def test_visualize_says_where_no_heatmap_could_be_made(tmp_path: Path, sent: str, said: bool) -> None:
    (tmp_path / "tone.wav").write_bytes(sound_only(tone(3), "wav", "pcm_s16le"))
    shutil.copy(ROOT / "assets/sample_forged.mp4", tmp_path)
    result = runner.invoke(app, ["visualize", str(tmp_path / sent), "--heatmap"])
    assert result.exit_code == 0, result.output
    assert ("No heatmap" in result.stderr) == said


def test_visualize_refuses_to_write_over_its_own_file(tmp_path: Path) -> None:
    sent = tmp_path / "clip.mp4"
    shutil.copy(ROOT / "assets/sample_forged.mp4", sent)
    result = runner.invoke(app, ["visualize", str(sent), "-o", str(sent)])
    assert result.exit_code == EXIT_USAGE
    assert sent.read_bytes() == (ROOT / "assets/sample_forged.mp4").read_bytes()


def test_visualize_leaves_nothing_behind_of_a_file_that_cannot_be_analysed(tmp_path: Path) -> None:
    sent = tmp_path / "cut.mp4"
    sent.write_bytes((ROOT / "assets/sample_forged.mp4").read_bytes()[:20_000])
    assert runner.invoke(app, ["visualize", str(sent)]).exit_code == EXIT_FAILED
    assert list(tmp_path.iterdir()) == [sent]


@pytest.mark.parametrize(("fail_on", "code"), [("fake", EXIT_FOUND), ("undetermined", 0)])
def test_analyze_fails_on_what_it_is_told_to(fail_on: str, code: int) -> None:
    result = runner.invoke(app, ["analyze", "--fail-on", fail_on, str(ROOT / "assets/sample_forged.mp4")])
    assert result.exit_code == code, result.output


def test_analyze_writes_annotated_media_and_reports_into_a_folder(tmp_path: Path) -> None:
    result = runner.invoke(app, ["analyze", "--out", str(tmp_path), str(ROOT / "assets/sample_forged.mp4")])
    assert result.exit_code == 0, result.output
    (drawn,) = tmp_path.glob("sample_forged-*.unmask.mp4")
    (report,) = tmp_path.glob("sample_forged-*.html")
    assert "sample_forged.mp4" in report.read_text("utf-8")
    with av.open(drawn) as film:
        assert film.streams.video[0].codec_context.name == "h264"
