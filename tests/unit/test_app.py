"""What is checked before the graph is drawn."""

from pathlib import Path

import pytest

from models.errors import NotInstalled
from serve_app.app import check_spread, checked_configuration
from serve_app.auth import new_key
from serve_app.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models, and a key."""
    monkeypatch.setenv("UNMASK_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("API_KEY", new_key())
    return tmp_path


def test_what_is_not_installed_is_left_out_and_the_rest_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_MODELS", "mobilenet-sbi-v1, aasist")
    _, catalogue, installed, _ = checked_configuration()
    assert catalogue.ids == ("mobilenet-sbi-v1", "aasist")
    assert [row.id for row in installed] == ["mobilenet-sbi-v1"]


def test_a_service_without_one_detector_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_MODELS", "aasist")
    with pytest.raises(NotInstalled, match="unmask models pull aasist"):
        checked_configuration()


POSTGRES, BUCKET = "postgresql://user@host/name", "s3://bucket/prefix"


@pytest.mark.parametrize(
    ("database", "artifacts", "named"),
    [("sqlite:///unmask.db", BUCKET, "DATABASE_URL"), (POSTGRES, "/var/lib/unmask", "ARTIFACTS_URL")],
)
def test_a_graph_over_several_nodes_needs_stores_that_all_reach(database: str, artifacts: str, named: str) -> None:
    kept = Settings(UNMASK_DATABASE_URL=database, UNMASK_ARTIFACTS_URL=artifacts)  # type: ignore[call-arg]
    check_spread(kept, 1)
    with pytest.raises(SettingsError, match=named):
        check_spread(kept, 2)


def test_a_graph_over_several_nodes_starts_on_stores_that_all_reach() -> None:
    check_spread(Settings(UNMASK_DATABASE_URL=POSTGRES, UNMASK_ARTIFACTS_URL=BUCKET), 2)  # type: ignore[call-arg]
