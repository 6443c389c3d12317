from models.detectors.store import ROOT
from serve_app.settings import Settings

OPERATIONS = ROOT / "docs" / "operations.md"


def test_every_setting_has_help() -> None:
    assert all(info.description for info in Settings.model_fields.values())


def test_every_setting_is_in_the_operations_page() -> None:
    page = OPERATIONS.read_text("utf-8")
    missing = [name for name in Settings.model_fields if f"`UNMASK_{name.upper()}`" not in page]
    assert not missing
