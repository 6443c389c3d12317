"""`python -m training.recipes ID --data DIR`: train one bundled detector, from nothing to its weights and figures.

Started again with the same folders it goes on where it was. `--smoke` goes through every part in a minute, on drawn
faces and synthesised voices.
"""

import argparse
import hashlib
import json
import math
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import torch

from models.errors import UnmaskError
from training.recipes.errors import TrainingError
from training.recipes.fit import CURVES, HISTORY, Course, Plan
from training.recipes.memory import keep_freed_memory
from training.recipes.outcome import MEASURED, write_card
from training.recipes.recipe import Order, Recipe, Trained
from training.recipes.registry import known, recipe
from training.recipes.smoke.data import write_data

RUNS = Path("training/runs")
RUN = "run.json"  # what a run was begun with, so that another one does not go on in its folder
EXIT_WRONG, EXIT_STOPPED = 2, 130
SMOKE_STEPS, SMOKE_CHECK = 4, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Follow the command line; 0 is done, 2 a command that cannot be followed or a run that failed, 130 stopped."""
    args = _parser().parse_args(argv)
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(0)  # the processes that forge are the parallelism
    try:
        chosen = recipe(args.id)
        order = _order(args, chosen)
        _claim(order, chosen)
        if order.smoke:
            write_data(order.data, order.shared / "boxes.json", order.seed)
        trained = chosen.train(order)
        card = write_card(order, chosen.id, trained.weights)
    except UnmaskError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_WRONG
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return EXIT_STOPPED
    print("\n".join(_report(order, trained, card)))
    return 0


def _order(args: argparse.Namespace, chosen: Recipe) -> Order:
    """What the command line asks for, checked."""
    _check_device(args.device)
    if args.smoke:
        return _smoke_order(args, chosen)
    _check_data(args.data, chosen)
    return Order(
        data=args.data,
        out=args.out or RUNS / chosen.id,
        shared=args.shared or RUNS / "shared",
        plan=_plan(args, chosen.plan),
        seed=args.seed,
        workers=args.workers,
    )


def _smoke_order(args: argparse.Namespace, chosen: Recipe) -> Order:
    """All that a smoke run reads and writes is within its own folder, so that nothing of it gets into a real run."""
    if args.data or args.shared:
        raise TrainingError("--smoke makes its own data and shares nothing.", "Leave --data and --shared out.")
    out = args.out or RUNS / "smoke" / chosen.id
    if not args.out:
        shutil.rmtree(out, ignore_errors=True)  # a smoke run that goes on where the last one ended shows nothing
    return Order(
        data=out / "data",
        out=out,
        shared=out / "shared",
        plan=_plan(args, Plan(steps=SMOKE_STEPS, check_every=SMOKE_CHECK)),
        seed=args.seed,
        workers=args.workers,
        smoke=True,
    )


def _plan(args: argparse.Namespace, plan: Plan) -> Plan:
    return replace(
        plan,
        steps=args.steps or plan.steps,
        minutes=args.minutes or plan.minutes,
        device=args.device,
    )


def _check_data(data: Path | None, chosen: Recipe) -> None:
    if data is None:
        raise TrainingError("--data is missing: the folder of the development data.", "--smoke needs none.")
    if missing := [name for name in chosen.needs if not (data / name).exists()]:
        raise TrainingError(
            f"{data} has no {', no '.join(missing)}.",
            f"{chosen.id} reads {', '.join(chosen.needs)}, laid out as docs/training.md says; --smoke makes its own.",
        )


def _check_device(device: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise TrainingError(f"There is no device {device}.", "Known are: cpu, cuda, cuda:0, cuda:1 and so on.")
    kind, _, number = device.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise TrainingError(f"--device {device}: PyTorch {torch.__version__} sees no GPU here.", "Use --device cpu.")
    if number and int(number) >= torch.cuda.device_count():
        raise TrainingError(f"--device {device}: there are {torch.cuda.device_count()} GPUs, counted from 0.")


def _claim(order: Order, chosen: Recipe) -> None:
    """Note in the run's folder what it was begun with, or refuse to go on with something else.

    Raises:
        TrainingError: another recipe, another seed, or a smoke run where the run is none.
    """
    begun = {"recipe": chosen.id, "seed": order.seed, "smoke": order.smoke}
    path = order.out / RUN
    if path.exists():
        there = json.loads(path.read_text("utf-8"))
        if there != begun:
            raise TrainingError(
                f"{order.out} holds the run {_words(there)}, not {_words(begun)}.",
                "Name another folder with --out, or remove that one to start anew.",
            )
        print(f"goes on in {order.out}")
    order.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(begun) + "\n", "utf-8")


def _words(begun: dict[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in begun.items())


def _report(order: Order, trained: Trained, card: Path) -> list[str]:
    """What was written, and the figures of the weights that were kept."""
    content = trained.weights.read_bytes()
    return [
        _best(trained.course),
        f"written: {trained.weights}, {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}",
        f"written: {order.out / HISTORY}, {order.out / CURVES}",
        f"written: {card}, and the figures in it under {order.out / MEASURED}",
        *(["a smoke run: these weights detect nothing, and its figures mean nothing"] if order.smoke else []),
    ]


def _best(course: Course) -> str:
    if course.best is None:
        return f"{course.step} steps, no look at the validation data"
    figures = ", ".join(f"{name} {value:.4f}" for name, value in course.best.figures.items())
    return f"{course.step} steps; kept are the weights of step {course.best.step}: {figures}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.recipes", description="Train one bundled detector.")
    parser.add_argument("id", help=f"of the catalogue's row: {', '.join(known())}")
    parser.add_argument("--data", type=Path, help="folder of the development data")
    parser.add_argument("--out", type=Path, help=f"of this run, which goes on if it is there; default {RUNS}/ID")
    parser.add_argument("--shared", type=Path, help=f"of what several recipes use; default {RUNS}/shared")
    parser.add_argument("--steps", type=_positive(int), help="at most; default is the recipe's")
    parser.add_argument("--minutes", type=_positive(float), help="of training, all runs together; default no limit")
    parser.add_argument("--seed", type=_not_negative, default=1, help="of every random choice")
    parser.add_argument("--workers", type=_not_negative, default=1, help="processes that make training data")
    parser.add_argument("--threads", type=_positive(int), default=1, help="of PyTorch")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--smoke", action="store_true", help="go through every part in a minute, on data of its own")
    return parser


def _positive(kind: Callable[[str], int | float]) -> Callable[[str], int | float]:
    def positive(text: str) -> int | float:
        value = kind(text)
        if not (value > 0 and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return positive


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
