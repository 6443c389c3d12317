"""The setting that says whose signatures are trusted."""

from pathlib import Path

import pytest

from serve_app.settings import SettingsError, read_settings
from tests.signed import identity


def test_without_the_setting_nobody_is_trusted() -> None:
    assert read_settings().trust_anchors() == ""


def test_the_certificates_of_the_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anchors = identity().root + identity().root
    (tmp_path / "anchors.pem").write_text(anchors)
    monkeypatch.setenv("UNMASK_C2PA_TRUST_ANCHORS", str(tmp_path / "anchors.pem"))
    assert read_settings().trust_anchors() == anchors


WRONG = {
    "no file": None,
    "empty": b"",
    "no certificate": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "no PEM": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG.keys())
def test_a_file_without_certificates_is_refused_by_name(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "anchors.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("UNMASK_C2PA_TRUST_ANCHORS", str(path))
    with pytest.raises(SettingsError, match=r"anchors\.pem cannot be read as certificates"):
        read_settings().trust_anchors()
