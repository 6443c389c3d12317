"""`docs/adding-a-detector.md`, followed to the letter in a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.detectors.store import ROOT

PAGE = ROOT / "docs" / "adding-a-detector.md"
UNMASK = str(Path(sys.executable).with_name("unmask"))
COPIED = ("models", "serve_app", "configs", "tests", "pyproject.toml")


def blocks() -> dict[str, str]:
    """The page's code by the path its first line names."""
    found = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return dict(found)


@dataclass(frozen=True)
class Project:
    """The copy, with what the page says done to it."""

    root: Path
    environment: Mapping[str, str]

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=dict(self.environment), capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root, home = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("home")
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    code = blocks()
    (home / "make_weights.py").write_text(code["~/make_weights.py"], "utf-8")
    (root / "models/detectors/mean_colour.py").write_text(code["models/detectors/mean_colour.py"], "utf-8")
    test = code["tests/unit/detectors/test_mean_colour.py"]
    (root / "tests/unit/detectors/test_mean_colour.py").write_text(test, "utf-8")
    project = Project(root, {**os.environ, "HOME": str(home), "PYTHONPATH": str(root)})
    project.run(sys.executable, str(home / "make_weights.py"))
    _append_row(root / "configs/models.yaml", code["configs/models.yaml"])
    return project


def _append_row(catalogue: Path, row: str) -> None:
    """Behind the last row of `models`, which may be followed by other top-level keys."""
    head, separator, tools = catalogue.read_text("utf-8").partition("\ntools:")
    catalogue.write_text(f"{head.rstrip()}\n{row}{separator}{tools}", "utf-8")


def test_the_page_has_the_file_the_row_and_the_test() -> None:
    assert set(blocks()) == {
        "~/make_weights.py",
        "models/detectors/mean_colour.py",
        "configs/models.yaml",
        "tests/unit/detectors/test_mean_colour.py",
    }


def test_the_new_detector_is_listed(project: Project) -> None:
    listed = project.run(UNMASK, "models", "list", "--json")
    assert "mean-colour" in [json.loads(line)["id"] for line in listed.splitlines()]


def test_its_own_test_passes(project: Project) -> None:
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--confcutdir=tests/unit")
    output = project.run(*command, "tests/unit/detectors/test_mean_colour.py")
    assert "3 passed" in output


def test_it_scores_the_sample(project: Project) -> None:
    sample = str(ROOT / "assets" / "sample_real.mp4")
    output = project.run(UNMASK, "analyze", "--json", "--model", "mean-colour", sample)
    verdict = json.loads(output)
    assert [(d["id"], d["status"]) for d in verdict["detectors"]] == [("mean-colour", "ok")]
    assert 0 < verdict["p_fake"] < 1


def test_the_page_s_code_is_as_clean_as_ours(project: Project) -> None:
    files = ("models/detectors/mean_colour.py", "tests/unit/detectors/test_mean_colour.py")
    project.run(sys.executable, "-m", "ruff", "check", *files)
    project.run(sys.executable, "-m", "ruff", "format", "--check", *files)
