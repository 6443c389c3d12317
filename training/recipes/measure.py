"""`python -m training.recipes.measure ID --weights FILE --manifest CSV --out DIR`: fresh weights, measured as served.

A copy of the catalogue in which the row has the new file goes with the results; the project's own is not touched. Two
commands of the evaluation follow, of which only the first analyses anything: calibration is fitted, then everything is
measured with it.
"""

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from models.detectors.catalogue import CATALOGUE_FILE, ModelRow, read_catalogue
from serve_app.terminal import EXIT_USAGE
from training.evaluation.__main__ import main as evaluation
from training.recipes.errors import TrainingError

CATALOGUE = "models.yaml"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is measured.

    Attributes:
        id: of the catalogue's row.
        weights: the new file; without it the row is measured as it is.
        manifest: the labelled files.
        out: for `results.jsonl`, `summary.json`, `report.html` and the catalogue's copy.
        split: of the manifest; empty for all.
        name: what the data is called in the catalogue.
        workers: processes.
        robustness_groups: of how many groups items are also degraded; 0 for none.
        fits: whether calibration is fitted to these items; else the row keeps its own.
    """

    id: str
    weights: Path | None
    manifest: Path
    out: Path
    split: str = ""
    name: str = ""
    workers: int = 1
    robustness_groups: int = 0
    fits: bool = True


def measured(of: Measurement) -> dict[str, Any]:
    """Measure, and return what `summary.json` holds.

    Raises:
        TrainingError: the row has other files besides its weights that are not here, or nothing could be measured.
    """
    of.out.mkdir(parents=True, exist_ok=True)
    catalogue = of.out / CATALOGUE
    catalogue.write_text(with_weights(CATALOGUE_FILE.read_text("utf-8"), of.id, of.weights), "utf-8")
    common = [str(of.manifest), "--model", of.id, "--catalogue", str(catalogue), "--out", str(of.out)]
    common += [f"--split={of.split}", f"--workers={of.workers}", *_kinds(read_catalogue(catalogue).asset(of.id))]
    degraded = ["--robustness", f"--robustness-groups={of.robustness_groups}"] if of.robustness_groups else []
    _run(["evaluate", *common, *degraded])
    if of.fits:
        _run(["calibrate", *common, f"--from={of.out}", "--write", f"--name={of.name or of.manifest.stem}"])
        _run(["evaluate", *common, f"--from={of.out}"])
    found: dict[str, Any] = json.loads((of.out / "summary.json").read_text("utf-8"))
    return found


def with_weights(text: str, name: str, weights: Path | None) -> str:
    """A catalogue's text in which the row of that id has other weights; comments and layout are lost.

    Raises:
        TrainingError: there is no such row.
    """
    content: dict[str, Any] = yaml.safe_load(text)
    row = next((row for row in content["models"] if row["id"] == name), None)
    if row is None:
        raise TrainingError(f"The catalogue has no row {name}.")
    if weights is not None:
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        row["files"]["weights"] = {"path": str(weights.resolve()), "sha256": digest}
    return yaml.safe_dump(content, sort_keys=False, width=120)


def _kinds(row: Any) -> list[str]:
    """The kinds of media that the detector takes: what it cannot take is no failure of its."""
    assert isinstance(row, ModelRow)
    return ["--kind=audio"] if row.view.region == "audio" else ["--kind=video", "--kind=image"]


def _run(arguments: list[str]) -> None:
    if evaluation(arguments) == EXIT_USAGE:
        raise TrainingError(f"`unmask {' '.join(arguments)}` could not be done.")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure one detector's fresh weights.")
    parser.add_argument("id", help="of the catalogue's row")
    parser.add_argument("--weights", type=Path, help="the new file; by default the row's own")
    parser.add_argument("--manifest", type=Path, required=True, help="labelled files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--split", default="", help="only this split; by default all items")
    parser.add_argument("--name", default="", help="what the data is called; by default the manifest's name")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--robustness-groups", type=int, default=0, help="degrade items of so many groups per kind")
    parser.add_argument("--as-is", action="store_true", help="keep the row's calibration")
    args = parser.parse_args()
    of = Measurement(
        args.id,
        args.weights,
        args.manifest,
        args.out,
        args.split,
        args.name,
        args.workers,
        args.robustness_groups,
        fits=not args.as_is,
    )
    try:
        measured(of)
    except TrainingError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
