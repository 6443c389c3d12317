"""`python -m training.datasets KIND PATH [--csv OUT]`: what is in a data set, and the manifest of it."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.datasets.command import add_data, data_of, ended
from training.datasets.items import SPLITS, Item, Manifest
from training.datasets.manifest import write_manifest

Line = tuple[str, str, str]  # source, label, manipulation


def main() -> int:
    """Read the command line, print the table, write the CSV."""
    parser = argparse.ArgumentParser(prog="python -m training.datasets", description="What is in a data set.")
    add_data(parser)
    parser.add_argument("--csv", type=Path, help="write the manifest here; `manifest` reads it")
    args = parser.parse_args()
    return ended(lambda: _show(data_of(args), args.csv, Console()))


def _show(manifest: Manifest, csv: Path | None, console: Console) -> int:
    console.print(counts_table(manifest))
    console.print("\n".join(notes(manifest)), markup=False, highlight=False, soft_wrap=True)
    if csv is not None:
        write_manifest(manifest, csv)
        console.print(f"written: {csv}", markup=False, highlight=False, soft_wrap=True)
    return 0


def counts_table(manifest: Manifest) -> Table:
    """A row for each source, label and manipulation; a column for each split."""
    table = Table("source", "label", "manipulation", *SPLITS, "left out")
    counts = Counter((_line(item), item.split) for item in manifest)
    for line in sorted({_line(item) for item in manifest}):
        table.add_row(*line, *(str(counts[line, split]) for split in (*SPLITS, "")))
    table.add_section()
    for name, of in (("items", manifest.items), ("groups", _one_per_group(manifest))):
        totals = Counter(item.split for item in of)
        table.add_row(name, "", "", *(str(totals[split]) for split in (*SPLITS, "")))
    return table


def notes(manifest: Manifest) -> list[str]:
    """What the counts do not say: files that are not there, and what cannot be learnt or measured."""
    lines = [f"{len(manifest)} items, {len({g for item in manifest for g in item.groups})} groups"]
    missing = manifest.missing()
    lines.append(f"{len(missing)} files are not there" + (f", the first is {missing[0]}" if missing else ""))
    for split in SPLITS:
        labels = {item.label for item in manifest.of(split)}
        if len(labels) == 1:
            lines.append(f"{split} has only {labels.pop()} items: nothing can be learnt or measured there")
    return lines


def _line(item: Item) -> Line:
    return item.source, item.label, item.manipulation


def _one_per_group(manifest: Manifest) -> list[Item]:
    return list({(group, item.split): item for item in manifest for group in item.groups}.values())


if __name__ == "__main__":
    sys.exit(main())
