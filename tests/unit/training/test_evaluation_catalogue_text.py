import re
from pathlib import Path

import pytest

from models.detectors.catalogue import CATALOGUE_FILE, read_catalogue
from training.evaluation.catalogue_text import Change, write
from training.evaluation.errors import EvaluationError

START = "portraits, val ("
LINE = START + '2026-11-21): AUC of clips 0.900 [0.850, 0.950], "quoted", 3 real'


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "models.yaml"
    path.write_bytes(CATALOGUE_FILE.read_bytes())
    return path


def change(name: str = "mobilenet-sbi-v1", line: str = LINE) -> Change:
    return Change(name, 2.5, -0.125, 0.75, line, START)


def differing(before: str, after: str) -> tuple[list[str], list[str]]:
    """Lines that are only in the one, and only in the other; the order of the rest must be the same."""
    old, new = before.splitlines(), after.splitlines()
    gone, come = [line for line in old if line not in new], [line for line in new if line not in old]
    assert [line for line in old if line not in gone] == [line for line in new if line not in come]
    return gone, come


def test_only_the_named_values_of_the_row_change(catalogue: Path) -> None:
    before = catalogue.read_text("utf-8")
    write(catalogue, [change()])
    gone, come = differing(before, catalogue.read_text("utf-8"))
    assert [line.split(":")[0].strip() for line in gone] == ["calibration", "weight"]
    assert come[0] == "    calibration: { scale: 2.5, bias: -0.125 }"
    assert LINE.split('"')[0] in come[1]
    assert come[2] == "    weight: 0.75"


def test_the_service_reads_what_was_written(catalogue: Path) -> None:
    write(catalogue, [change()])
    row = read_catalogue(catalogue).row("mobilenet-sbi-v1")
    assert (row.calibration.scale, row.calibration.bias, row.weight) == (2.5, -0.125, 0.75)
    assert row.measured[-1] == LINE


def test_a_later_run_on_the_same_data_replaces_its_line(catalogue: Path) -> None:
    write(catalogue, [change()])
    once = read_catalogue(catalogue).row("mobilenet-sbi-v1").measured
    write(catalogue, [change(line=START + "2026-12-01): AUC of clips 0.910")])
    again = read_catalogue(catalogue).row("mobilenet-sbi-v1").measured
    assert len(again) == len(once)
    assert again[-1].endswith("0.910")


def test_every_row_of_the_catalogue_can_be_changed_and_keeps_its_comments(catalogue: Path) -> None:
    before = catalogue.read_text("utf-8")
    write(catalogue, [change(row.id) for row in read_catalogue(catalogue).every])
    after = catalogue.read_text("utf-8")
    comments = [line for line in before.splitlines() if "#" in line]
    assert [line for line in after.splitlines() if "#" in line] == comments


def test_line_ends_stay_as_they_are(catalogue: Path) -> None:
    catalogue.write_bytes(catalogue.read_bytes().replace(b"\n", b"\r\n"))
    write(catalogue, [change(), change("gend-clip-l14")])
    content = catalogue.read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n")


REFUSED = {
    "a calibration without a bias": (
        re.search(r"^    calibration: \{.*\}$", CATALOGUE_FILE.read_text("utf-8"), re.MULTILINE)[0],  # type: ignore[index]
        "    calibration:\n      scale: 1.2",
    ),
    "measured in brackets": ("    measured:\n", '    measured: ["a"]\n    reported:\n'),
    "a weight that another row shares": ("    weight: 1.0", "    weight: &shared 1.0"),
}


@pytest.mark.parametrize(("old", "new"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_changed_safely_is_refused_and_left_alone(catalogue: Path, old: str, new: str) -> None:
    text = catalogue.read_text("utf-8").replace(old, new, 1)
    if "shared" in new:
        text = text.replace("    weight: 0.2", "    weight: *shared", 1)
    catalogue.write_text(text, "utf-8")
    with pytest.raises(EvaluationError):
        write(catalogue, [change()])
    assert catalogue.read_text("utf-8") == text
    assert [path.name for path in catalogue.parent.iterdir()] == ["models.yaml"]


def test_an_unknown_row_is_an_error(catalogue: Path) -> None:
    with pytest.raises(EvaluationError, match="no row nope"):
        write(catalogue, [change("nope")])
