"""Runs the clients that the older services' READMEs print, as they are: only address, key and files are put in."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.servers import IN_CI, needs

PACKAGES = ("axios@1", "form-data@4")
TIMEOUT_S = 240
# What a browser's page has, and node has not: a file that somebody chose. And objects are printed as JSON.
PRELUDE = """
const { openAsBlob } = require("fs");
const chosen = async (path) => new File([await openAsBlob(path)], path);
console.log = (data) => process.stdout.write(JSON.stringify(data) + "\\n");
"""


def bash(snippet: str, folder: Path) -> str:
    """What a line of curl, or several, print in a folder. A status that is none of success is no failure to curl."""
    needs("curl", shutil.which("curl"), "apt-get", "install", "-y", "--no-install-recommends", "curl")
    return run(["bash", "-euo", "pipefail", "-c", snippet], folder)


def python(snippet: str, folder: Path) -> str:
    """What a script with requests prints."""
    return run([sys.executable, "-c", snippet], folder)


def node(snippet: str, folder: Path, modules: Path | None = None, **environment: str) -> str:
    """What a script prints: an async function's body, in which `chosen(path)` is a file as a browser has it."""
    has_node()
    script = folder / "script.cjs"
    script.write_text(f"{PRELUDE}\n(async () => {{\n{snippet}\n}})();\n", "utf-8")
    where = {"NODE_PATH": str(modules)} if modules else {}
    return run(["node", str(script)], folder, {**where, **environment})


def has_node() -> None:
    """Skip, or install it in CI."""
    both = shutil.which("node") and shutil.which("npm")
    needs("Node", both, "apt-get", "install", "-y", "--no-install-recommends", "nodejs", "npm")


def node_modules(folder: Path) -> Path:
    """The packages that the Node client needs, installed for the tests alone."""
    has_node()
    if not IN_CI:
        pytest.skip(f"{' and '.join(PACKAGES)} are only installed in CI: set CI=1 to run this with npm")
    run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES], folder)
    return folder / "node_modules"


def run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
