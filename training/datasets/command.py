"""What the commands of data sets share: KIND PATH --option NAME=VALUE, and how our own errors end them."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from models.errors import UnmaskError
from training.datasets.items import DatasetError, Manifest
from training.datasets.readers import READERS, options_of, read

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # what shells report for Ctrl-C


def add_data(parser: argparse.ArgumentParser) -> None:
    """Arguments that name a data set."""
    parser.add_argument("kind", metavar="KIND", help=f"the reader: {', '.join(READERS)}")
    parser.add_argument("path", metavar="PATH", type=Path, help="the data set's folder, or the CSV")
    parser.add_argument(
        "--option", metavar="NAME=VALUE", action="append", default=[], help=f"of the reader: {_known()}"
    )


def data_of(args: argparse.Namespace) -> Manifest:
    """The data set that was named; raises `DatasetError`."""
    options = {}
    for text in args.option:
        name, equals, value = text.partition("=")
        if not equals:
            raise DatasetError(f"--option {text} is not NAME=VALUE.")
        options[name] = value
    return read(args.kind, args.path, **options)


def ended(command: Callable[[], int]) -> int:
    """The command's exit code; our own errors are one line and exit code 2."""
    try:
        return command()
    except UnmaskError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED


def _known() -> str:
    return "; ".join(f"{kind}: {', '.join(options_of(kind))}" for kind in READERS)
