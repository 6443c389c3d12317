"""Imports point one way: models <- deployments <- serve_app; training and benchmarks may import all three."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"models", "deployments", "serve_app", "training", "benchmarks"}
MAY_IMPORT = {
    "models": set(),
    "deployments": {"models"},
    "serve_app": {"models", "deployments"},
    "training": {"models", "deployments", "serve_app"},
    "benchmarks": {"models", "deployments", "serve_app"},
}
MODELS_MAY_NOT = {"ray", "fastapi", "starlette", "httpx", "uvicorn"}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} has no files: the test would pass without looking at anything"
    return found


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in files(package)
        for name in imported(file)
        if (top := name.partition(".")[0]) in OURS - {package} and top not in MAY_IMPORT[package]
    }
    assert not wrong


def test_models_imports_neither_ray_nor_http() -> None:
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in files("models")
        for name in imported(file)
        if name.partition(".")[0] in MODELS_MAY_NOT
    }
    assert not wrong


def test_client_imports_only_schemas_of_ours() -> None:
    ours = {
        name
        for file in files("serve_app/client")
        for name in imported(file)
        if name.partition(".")[0] in OURS and not name.startswith("serve_app.client")
    }
    # Handles are for callers inside the cluster, where the graph's own types are; imported when they connect.
    assert ours == {"serve_app.schemas", "deployments.ensemble_router"}


def test_client_loads_nothing_else_of_ours_nor_ray() -> None:
    check = (
        "import sys, serve_app.client;"
        "found = {name for name in sys.modules if name.partition('.')[0] in {'ray', 'numpy', 'models', 'deployments'}};"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT, timeout=120)


def test_only_settings_reads_the_environment() -> None:
    readers = {
        str(file.relative_to(ROOT))
        for package in ("models", "deployments", "serve_app")
        for file in files(package)
        if "os.environ" in (text := file.read_text("utf-8")) or "getenv" in text
    }
    assert readers <= {"serve_app/settings.py"}


@pytest.mark.parametrize("module", ["serve_app.app", "serve_app.ingress", "serve_app.cli", "serve_app.client"])
def test_what_clients_see_loads_no_torch(module: str) -> None:
    check = f"import sys, {module}; assert 'torch' not in sys.modules, 'torch was loaded'"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT, timeout=120)
