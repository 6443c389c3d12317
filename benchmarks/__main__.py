"""`python -m benchmarks [--json]`: the rows of the design's table, on this machine, now."""

import argparse
import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.clip import make_clip
from benchmarks.in_process import decode_row, drawing_row, pipeline_row
from benchmarks.rows import Row
from benchmarks.service import service_rows


def main() -> int:
    """Measure and print; exit code 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description="Measure the service against its floors.")
    parser.add_argument("--json", action="store_true", help="one JSON object per row")
    as_json = parser.parse_args().json
    console = Console(stderr=True)
    rows = []
    for row in measure(console):
        rows.append(row)
        if as_json:
            print(json.dumps({**asdict(row), "holds": row.holds}), flush=True)
    if not as_json:
        print_table(rows)
    return 0 if all(row.holds for row in rows) else 1


def measure(console: Console) -> Iterator[Row]:
    """Every row, with progress on standard error."""
    with console.status("Making the clip: 10 s of 720p ..."):
        clip = make_clip()
    with console.status("Decoding: confined child against in process ..."):
        yield decode_row(clip)
    with console.status("Pipeline against decode and forward passes alone ..."):
        yield pipeline_row(clip)
    with console.status("Drawing the verdict into the clip ..."):
        yield drawing_row(clip)
    yield from service_rows(clip, free_port(), console)


def print_table(rows: list[Row]) -> None:
    """The rows for a person."""
    table = Table("what", "figure", "floor", "ratio", "bound", "holds")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.figure:.3f} {row.unit}",
            f"{row.floor:.3f} {row.unit}",
            f"{row.ratio:.2f}",
            f"<= {row.bound:.2f}",
            "yes" if row.holds else "NO",
        )
    Console().print(table)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
