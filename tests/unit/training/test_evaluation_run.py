"""From a manifest to results, through the pipeline with the bundled detector."""

import io
import json
from collections import Counter
from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from models.detectors.catalogue import CalibrationRow, read_catalogue
from models.detectors.store import ROOT
from serve_app.cli import app
from tests.unit.training.recorded import recorded
from training.evaluation.__main__ import main
from training.evaluation.errors import EvaluationError
from training.evaluation.listing import Listed, listed
from training.evaluation.records import read_records
from training.evaluation.run import Run, drawn_groups, earlier, records_of
from training.evaluation.scoring import Analyst, raw_logit

MODEL = "mobilenet-sbi-v1"


@pytest.fixture(scope="module")
def analyst() -> Analyst:
    return Analyst(MODEL)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """One real, one fake, and a fake that is no media."""
    for name, asset in (("a.mp4", "sample_real.mp4"), ("b.mp4", "sample_forged.mp4")):
        (tmp_path / name).write_bytes((ROOT / "assets" / asset).read_bytes())
    (tmp_path / "c.mp4").write_text("no media\n" * 50)
    path = tmp_path / "m.csv"
    path.write_text("path,label,group,split,source\na.mp4,real,p,test,s\nb.mp4,fake,q,test,s\nc.mp4,fake,r,val,s\n")
    return path


def made(items: list[Listed], folder: Path, analyst: Analyst) -> list[str]:
    """The lines of results after a run."""
    folder.mkdir(exist_ok=True)
    records_of(items, Run(folder), analyst, Console(file=io.StringIO()))
    return (folder / "results.jsonl").read_text("utf-8").splitlines()


def test_a_record_has_scores_facts_and_the_raw_logit(manifest: Path, tmp_path: Path, analyst: Analyst) -> None:
    record = records_of(listed(manifest, "test"), Run(tmp_path), analyst, Console(file=io.StringIO()))[1]
    assert (record.name, record.fake, record.group, record.verdict) == ("b.mp4", True, "q", "FAKE")
    assert record.frames == len(record.frame_p_fake) == 16
    assert record.measures is not None
    assert record.measures.size_bytes == (manifest.parent / "b.mp4").stat().st_size
    assert (record.measures.width, record.measures.duration_s) == (640, 4.0)
    score = record.detectors[0]
    row = read_catalogue().row(MODEL)
    assert score.logit == pytest.approx(raw_logit(record.p_fake or 0, row))


def test_the_platt_scaling_is_undone_exactly() -> None:
    row = read_catalogue().row(MODEL)
    for logit in (-30.0, -2.0, 0.0, 3.5, 15.0):
        p_fake = 1 / (1 + 2.718281828459045 ** -(row.calibration.scale * logit + row.calibration.bias))
        assert raw_logit(p_fake, row) == pytest.approx(logit, rel=1e-6, abs=1e-9)
    assert raw_logit(1.0, row) < 40


def test_a_file_that_is_no_media_is_a_record_with_its_error(manifest: Path, tmp_path: Path, analyst: Analyst) -> None:
    made(listed(manifest), tmp_path / "out", analyst)
    record = read_records(tmp_path / "out" / "results.jsonl")["c.mp4", ""]
    assert (record.error, record.p_fake) == ("unsupported_media", None)


def test_a_file_that_is_not_there_is_a_record_with_its_error(manifest: Path, tmp_path: Path, analyst: Analyst) -> None:
    items = listed(manifest)
    (manifest.parent / "c.mp4").unlink()
    made(items, tmp_path / "out", analyst)
    assert read_records(tmp_path / "out" / "results.jsonl")["c.mp4", ""].error == "cannot_read_file"


def test_a_run_started_again_does_only_what_is_new_changed_or_failed(
    manifest: Path, tmp_path: Path, analyst: Analyst
) -> None:
    out = tmp_path / "out"
    assert len(made(listed(manifest, "test")[:1], out, analyst)) == 1
    assert len(made(listed(manifest), out, analyst)) == 3  # b and c are new
    assert len(made(listed(manifest), out, analyst)) == 4  # c failed
    changed = manifest.parent / "a.mp4"
    changed.write_bytes(changed.read_bytes() + b"\0\0\0\x08free")
    last = made(listed(manifest), out, analyst)[4:]
    assert [json.loads(line)["name"] for line in last] == ["a.mp4", "c.mp4"]


def test_a_result_of_another_catalogue_is_made_anew(manifest: Path, tmp_path: Path, analyst: Analyst) -> None:
    results = tmp_path / "out" / "results.jsonl"
    lines = made(listed(manifest, "test"), tmp_path / "out", analyst)
    results.write_text("".join(line.replace(analyst.basis, "another") + "\n" for line in lines), "utf-8")
    assert len(made(listed(manifest, "test"), tmp_path / "out", analyst)) == 4


def test_a_line_that_was_half_written_is_done_again(manifest: Path, tmp_path: Path, analyst: Analyst) -> None:
    results = tmp_path / "out" / "results.jsonl"
    made(listed(manifest, "test"), tmp_path / "out", analyst)
    results.write_text(results.read_text("utf-8")[:-40], "utf-8")
    made(listed(manifest, "test"), tmp_path / "out", analyst)
    assert set(read_records(results)) == {("a.mp4", ""), ("b.mp4", "")}


def test_the_command_writes_results_summary_and_page_and_says_that_an_item_failed(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", str(manifest), "--model", MODEL, "--out", str(out)]) == 3
    assert {path.name for path in out.iterdir()} == {"results.jsonl", "summary.json", "report.html"}
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    assert summary["counts"]["failed"] == {"unsupported_media": 1}
    assert summary["figures"]["auc"]["value"] == 1
    assert summary["provenance"]["rows"][0]["files_sha256"]["weights"]
    assert "AUC of clips" in capsys.readouterr().out


def test_several_processes_find_what_one_finds(manifest: Path, tmp_path: Path, analyst: Analyst) -> None:
    found = []
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        run = Run(tmp_path / str(workers), workers)
        found.append(records_of(listed(manifest, "test"), run, analyst, Console(file=io.StringIO())))
    assert [r.p_fake for r in found[0]] == pytest.approx([r.p_fake for r in found[1]])


def test_only_media_of_the_kinds_that_were_named_are_listed(manifest: Path) -> None:
    (manifest.parent / "p.jpg").touch()
    (manifest.parent / "q.jpg").touch()
    manifest.write_text("path,label\na.mp4,real\nb.mp4,fake\np.jpg,real\nq.jpg,fake\n", "utf-8")
    assert [of.name for of in listed(manifest, kinds=["image"])] == ["p.jpg", "q.jpg"]


def test_degraded_groups_are_so_many_of_each_kind_and_always_the_same() -> None:
    records = [replace(r, kind="image") if number % 2 else r for number, r in enumerate(recorded(20))]
    drawn = drawn_groups(records, 3)
    assert Counter(kind for kind, _ in drawn) == {"video": 3, "image": 3}
    assert drawn == drawn_groups(records[::-1], 3)
    assert len(drawn_groups(records, 0)) == 40


def test_results_of_an_earlier_run_are_judged_by_another_catalogue_without_analysing(
    manifest: Path, tmp_path: Path, analyst: Analyst
) -> None:
    made(listed(manifest, "test"), tmp_path / "out", analyst)
    row = analyst.catalogue.row(MODEL).model_copy(update={"calibration": CalibrationRow(scale=1.0, bias=-50.0)})
    stricter = copy(analyst)
    stricter.catalogue = replace(analyst.catalogue, rows=(row,))
    found = earlier(listed(manifest, "test"), tmp_path / "out", stricter)
    assert [record.verdict for record in found] == ["REAL", "REAL"]


def test_results_of_a_file_that_has_changed_are_not_taken_for_its_own(
    manifest: Path, tmp_path: Path, analyst: Analyst
) -> None:
    items = listed(manifest, "test")
    made(items, tmp_path / "out", analyst)
    with (manifest.parent / "a.mp4").open("ab") as file:
        file.write(b"\0\0\0\x08free")
    with pytest.raises(EvaluationError, match="1 of 2 items have no result"):
        earlier(items, tmp_path / "out", analyst)


WRONG = {
    "empty": ("path,label\n", "no files"),
    "one class": ("path,label\na.mp4,real\nb.mp4,real\n", "all 2 items are real"),
    "no such split": ("path,label,split\na.mp4,real,val\nb.mp4,fake,val\n", "no items.*val"),
}


@pytest.mark.parametrize(("content", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_manifest_that_nothing_can_be_measured_on_is_a_clear_error(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(content)
    split = "test" if "split" in content else ""
    with pytest.raises(Exception, match=f"(?s){said}"):
        listed(path, split)


def test_a_manifest_that_is_not_there_is_exit_code_2(tmp_path: Path) -> None:
    assert main(["evaluate", str(tmp_path / "none.csv")]) == 2


def test_an_unknown_detector_is_exit_code_2(manifest: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(manifest), "--model", "nope", "--out", str(tmp_path / "out")]) == 2


@pytest.mark.parametrize("command", ["evaluate", "calibrate"])
def test_unmask_passes_every_option_on(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def call(arguments: list[str]) -> int:
        started.append(arguments)
        return 3

    monkeypatch.setattr("subprocess.call", call)
    assert CliRunner().invoke(app, [command, "m.csv", "--split", "val", "--help"]).exit_code == 3
    assert started[0][1:] == ["-m", "training.evaluation", command, "m.csv", "--split", "val", "--help"]


def test_errors_of_evaluation_have_a_short_name() -> None:
    assert EvaluationError.code == "evaluation_error"
