"""`python -m training.evaluation evaluate|calibrate MANIFEST.csv ...`: what `unmask evaluate` and `calibrate` start.

Exit codes: 0 done, 2 wrong usage, configuration or data, 3 at least one item could not be analysed, 130 interrupted.
"""

import argparse
import json
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.text import Text

from models.detectors.catalogue import ENSEMBLE
from models.errors import UnmaskError
from models.types import Kind
from serve_app.terminal import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from training.evaluation import cascade
from training.evaluation.calibrate import Target, calibrate
from training.evaluation.errors import EvaluationError
from training.evaluation.listing import listed
from training.evaluation.provenance import provenance
from training.evaluation.records import Record
from training.evaluation.report import html
from training.evaluation.run import Run, earlier, records_of
from training.evaluation.scoring import Analyst, settings_for
from training.evaluation.summary import summarise
from training.evaluation.tables import show

RUNS = Path("training/runs/evaluation")
out, err = Console(), Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and do it."""
    args = _parser().parse_args(arguments)
    args.command = shlex.join(["unmask", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        act: Callable[[argparse.Namespace], int] = args.act
        return act(args)
    except UnmaskError as error:
        err.print("[bold red]error:[/]", Text(str(error)), soft_wrap=True)
        return EXIT_USAGE
    except KeyboardInterrupt:
        err.print("Interrupted. The same command goes on from here.")
        return EXIT_INTERRUPTED


def _evaluate(args: argparse.Namespace) -> int:
    analyst, records = _records(args)
    facts = provenance(analyst.catalogue, args.model, args.manifest, args.split, args.command)
    with err.status("Computing ...") as status:
        summary = summarise(records, analyst.catalogue.verdict, lambda what: status.update(f"{what} ..."))
        content = json.dumps(plain({"provenance": asdict(facts), **asdict(summary)}), indent=1)
        folder = _folder(args)
        (folder / "summary.json").write_text(content + "\n", "utf-8")
        (folder / "report.html").write_text(html(summary, records, facts), "utf-8")
    show(summary, out)
    if args.cascade:
        cascade.show(records, analyst.catalogue.rows, analyst.catalogue.verdict, out)
    out.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)
    return EXIT_FAILED if any(record.error for record in records) else 0


def _calibrate(args: argparse.Namespace) -> int:
    analyst, records = _records(args)
    path = settings_for(args.model, args.catalogue).catalogue if args.write else None
    goal = cascade.Goal(args.cascade_agreement, args.cascade_cost)
    wanted = None if goal == cascade.Goal() else goal
    calibrate(records, analyst.catalogue, Target(path, args.name or args.manifest.stem, args.split, wanted), out)
    return EXIT_FAILED if any(record.error for record in records) else 0


def _records(args: argparse.Namespace) -> tuple[Analyst, list[Record]]:
    items = listed(args.manifest, args.split, args.kind)
    with err.status("Loading ..."):
        analyst = Analyst(args.model, args.catalogue)
    if args.results:
        return analyst, earlier(items, args.results, analyst)
    run = Run(_folder(args), args.workers, args.robustness, args.robustness_groups)
    return analyst, records_of(items, run, analyst, err)


def _folder(args: argparse.Namespace) -> Path:
    name = "-".join(part for part in (args.manifest.stem, args.split, args.model) if part)
    folder: Path = args.out or RUNS / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluationError(f"{folder} cannot be made: {error.strerror}.") from error
    return folder


def plain(value: Any) -> Any:
    """For JSON, which has no NaN: None."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="unmask", description="Measure detectors on labelled files.")
    commands = parser.add_subparsers(required=True)
    evaluate = commands.add_parser("evaluate", help="figures, robustness and a report")
    _shared(evaluate, _evaluate)
    evaluate.add_argument("--robustness", action="store_true", help="also at five strengths of each degradation")
    evaluate.add_argument(
        "--robustness-groups", type=int, default=0, help="degrade only items of so many groups of each kind of media"
    )
    evaluate.add_argument("--cascade", action="store_true", help="also what a cascade saves and keeps, by its bounds")
    fit = commands.add_parser("calibrate", help="fit calibration and fusion weights")
    _shared(fit, _calibrate)
    fit.add_argument("--write", action="store_true", help="write them into the catalogue")
    fit.set_defaults(robustness=False, robustness_groups=0)
    goals = fit.add_mutually_exclusive_group()
    goals.add_argument("--cascade-agreement", type=share, help="bounds that keep so much of the ensemble's verdicts")
    goals.add_argument("--cascade-cost", type=share, help="bounds that take so much of the ensemble's compute at most")
    fit.add_argument("--name", default="", help="what the data is called in the catalogue; by default the manifest's")
    return parser


def share(text: str) -> float:
    """A number from 0 to 1; raises `ValueError`."""
    if not 0 <= (value := float(text)) <= 1:
        raise ValueError(text)
    return value


def _shared(parser: argparse.ArgumentParser, act: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("manifest", type=Path, help="CSV: path,label and optionally group,split,source,manipulation")
    parser.add_argument("--model", default=ENSEMBLE, help="a detector's id; by default the ensemble that is served")
    parser.add_argument("--split", default="", help="only this split; by default all items")
    parser.add_argument("--kind", action="append", default=[], choices=get_args(Kind), help="only media of this kind")
    parser.add_argument("--catalogue", type=Path, help="another catalogue than the settings name")
    parser.add_argument(
        "--from", dest="results", type=Path, help="folder of an earlier run: its logits, calibrated and fused anew"
    )
    parser.add_argument("--out", type=Path, help=f"folder of the results; by default one in {RUNS}")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.set_defaults(act=act)


if __name__ == "__main__":
    sys.exit(main())
