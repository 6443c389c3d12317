"""Every recipe from nothing to weights and a card, by its command."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from training.recipes.__main__ import main
from training.recipes.fit import CURVES, HISTORY
from training.recipes.outcome import CARD
from training.recipes.registry import known


@pytest.mark.parametrize("recipe", known())
def test_a_smoke_run_goes_from_nothing_to_weights_and_a_card(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([recipe, "--smoke", "--out", str(tmp_path), "--workers", "0"]) == 0, capsys.readouterr().err
    assert load_file(tmp_path / f"{recipe}.safetensors")
    assert (tmp_path / HISTORY).stat().st_size
    assert (tmp_path / CURVES).stat().st_size
    assert "reals called FAKE" in (tmp_path / CARD).read_text("utf-8")
    assert "its figures mean nothing" in capsys.readouterr().out
