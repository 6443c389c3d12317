"""The README's commands and code, run as written against a running service (only the port is another)."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from models.detectors.store import ROOT
from tests.service import Running

README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"(?P<skip><!-- not run: .+? -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
BLOCKS = [match for match in BLOCK.finditer(README) if match["language"] in {"bash", "python"}]
KEY_LINE = "set -a; source .env; set +a"
RUN = [match for match in BLOCKS if not match["skip"]]


@pytest.fixture
def folder(running: Running, tmp_path: Path) -> Path:
    """What a stranger sees in the project's folder: the README's paths, the environment, and `.env` with the key."""
    for name in ("assets", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "unmask").symlink_to(Path(sys.executable).with_name("unmask"))
    (tmp_path / ".env").write_text(f"API_KEY={running.key}\n")
    return tmp_path


@pytest.mark.parametrize("block", RUN, ids=lambda match: match["code"].strip().splitlines()[0][:40])
def test_a_block_of_the_readme_runs_as_written(block: re.Match[str], running: Running, folder: Path) -> None:
    code = (
        block["code"]
        .replace("http://localhost:8000", running.url)
        .replace("localhost:8000", running.url.removeprefix("http://"))
    )
    if block["language"] == "python":
        code = f"{sys.executable} -c {shlex.quote(code)}"
    # The key comes the way the README says: every block runs in a shell that ran the first block's first line.
    command = ["bash", "-euo", "pipefail", "-c", f"{KEY_LINE}\n{code}"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "API_KEY"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert '"code":' not in done.stdout, "an error was answered"


def test_the_readme_says_how_to_get_the_key() -> None:
    assert RUN[0]["code"].startswith(KEY_LINE)


def test_most_blocks_are_run() -> None:
    assert len(RUN) >= 4
    assert len(BLOCKS) - len(RUN) <= 5


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))])
def test_every_relative_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert not missing


def test_every_make_target_of_the_readme_exists() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = set(re.findall(r"make (run|test|check|bench|\w+)\b(?=[ \n`].*)", README)) & {
        "run",
        "test",
        "check",
        "bench",
    }
    assert named == {"run", "test", "check", "bench"} <= set(targets)
