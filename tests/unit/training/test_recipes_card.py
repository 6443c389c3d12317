import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from models.detectors.catalogue import VerdictRow
from tests.unit.training.recorded import recorded
from training.evaluation.__main__ import plain
from training.evaluation.provenance import Provenance, RowFacts
from training.evaluation.summary import summarise
from training.recipes.card import BEGIN, END, write_figures
from training.recipes.errors import TrainingError

FACTS = Provenance(
    "mobilenet-sbi-v1",
    "/home/someone/validation/manifest.csv",
    "cd" * 32,
    "val",
    "unmask evaluate /home/someone/validation/manifest.csv",
    "2026-11-21T12:00:00+00:00",
    {},
    [RowFacts("mobilenet-sbi-v1", "1", 1.5, -0.25, 1.0, {"weights": "ab" * 32})],
)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 30 reals and fakes, and the same at one strength at which all reals are called fake."""
    records = recorded(30)
    worse = [replace(record, variant="compression 3", verdict="FAKE") for record in records]
    found = summarise(records + worse, VerdictRow(real_below=0.4, fake_above=0.6))
    path = tmp_path_factory.mktemp("run") / "summary.json"
    path.write_text(json.dumps(plain({"provenance": asdict(FACTS), **asdict(found)})), "utf-8")
    return path


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "card.md"
    path.write_text(f"# A\n\nBy hand.\n\n{BEGIN}\nold\n{END}\n\nMore by hand.\n", "utf-8")
    return path


def test_only_what_is_between_the_marks_is_replaced(card: Path, summary: Path) -> None:
    write_figures(card, [summary])
    text = card.read_text("utf-8")
    assert text.startswith("# A\n\nBy hand.\n\n")
    assert text.endswith(f"{END}\n\nMore by hand.\n")
    assert "\nold\n" not in text


def test_written_again_the_card_is_the_same(card: Path, summary: Path) -> None:
    write_figures(card, [summary])
    once = card.read_text("utf-8")
    write_figures(card, [summary])
    assert card.read_text("utf-8") == once


@pytest.mark.parametrize(
    "said",
    [
        "validation/manifest.csv, split val: 30 real and 30 fake items of 60 groups, measured on 2026-11-21",
        "p(fake) = sigmoid(1.5 * logit -0.25), weight 1",
        "| AUC of clips | 0.",
        "| swap | 30 / 30 / 60 | 0.",
        "| street |",
        "| file size |",
        "| video compression | 33 (H.264 constant rate factor) |",
        "100.0 % [100.0 %, 100.0 %] **above 10 %**",
    ],
)
def test_the_figures_are_told(card: Path, summary: Path, said: str) -> None:
    write_figures(card, [summary])
    assert said in card.read_text("utf-8")


def test_folders_of_the_machine_are_not_told(card: Path, summary: Path) -> None:
    write_figures(card, [summary])
    assert "/home" not in card.read_text("utf-8")


def test_several_summaries_follow_each_other(card: Path, summary: Path) -> None:
    write_figures(card, [summary, summary])
    assert card.read_text("utf-8").count("| AUC of clips | 0.") == 2


def test_a_card_without_the_marks_is_left_alone(tmp_path: Path, summary: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text("# A\n", "utf-8")
    with pytest.raises(TrainingError, match="lacks the lines"):
        write_figures(path, [summary])
    assert path.read_text("utf-8") == "# A\n"


def test_what_is_no_summary_is_a_clear_error(card: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is no summary"):
        write_figures(card, [tmp_path / "none.json"])
