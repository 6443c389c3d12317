"""Models in words: the list of the catalogue, and the card of one."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from models.detectors.catalogue import AssetRow, Catalogue, ModelRow, ViewRow
from models.detectors.store import ROOT, Store, source_of
from models.errors import NotInstalled

SEES = {"face": "faces", "frame": "frames", "audio": "sound"}
WIDE = 112  # columns from which the summary has room beside the rest
SAMPLE_RATE = 16_000
WAYS = {
    "squash": "squashed to a square",
    "crop": "scaled, its centre cut out",
    "pad": "scaled, black added",
    "centre": "its centre cut out unscaled",
    "repeat": "shorter sound repeated",
}


def sees(row: AssetRow) -> str:
    """What a model looks at; `tool` for what is no detector."""
    return SEES[row.view.region] if isinstance(row, ModelRow) else "tool"


def size(size_bytes: int) -> str:
    """Bytes for a person, in decimal units as file managers and hubs show them."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.{1 if size_bytes < 100 * factor else 0}f} {unit}"
    return f"{size_bytes} B"


def print_list(catalogue: Catalogue, rows: Iterable[AssetRow], console: Console) -> None:
    """One line per model, those of one kind together; with its summary where the terminal is wide enough."""
    wide = console.width >= WIDE
    columns = [
        Column("id", no_wrap=True, overflow="ellipsis"),
        Column("sees", no_wrap=True),
        Column("here", no_wrap=True),
        Column("served", no_wrap=True),
        Column("size", justify="right", no_wrap=True),
        Column("licence", no_wrap=True, overflow="ellipsis", max_width=18),
        *([Column("summary", no_wrap=True, overflow="ellipsis", ratio=1)] if wide else []),
    ]
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=wide, header_style="bold")
    order = [*SEES.values(), "tool"]
    for row in sorted(rows, key=lambda row: order.index(sees(row))):
        cells = [Text(row.id, "bold"), Text(sees(row)), *_state(catalogue, row)]
        cells += [Text(_size_of(catalogue.store, row)), Text(row.licence)]
        table.add_row(*cells, *([Text(row.summary, "dim")] if wide else []))
    console.print(table)
    console.print("\n`unmask models show ID` tells more of one, `unmask models pull ID` brings it.", style="dim")
    console.print("`own`: a checkpoint that you hold; `unmask models convert` takes it in.", style="dim")


def _size_of(store: Store, row: AssetRow) -> str:
    """Of all files, as the catalogue states it or as it was pulled; `?` if one is unknown."""
    record = store.record(row)
    exact = [file.size_bytes or (record[name].size_bytes if name in record else 0) for name, file in row.files.items()]
    if all(exact):
        return size(sum(exact))
    # The weights are what takes room; the rest are kilobytes of JSON.
    about = sum(known or file.about_bytes or 0 for known, file in zip(exact, row.files.values(), strict=True))
    if about:
        return f"~{size(about)}"
    return "own" if row.files["weights"].path is not None else "?"


def _state(catalogue: Catalogue, row: AssetRow) -> tuple[Text, Text]:
    here, served = catalogue.store.is_installed(row), row.id in catalogue.ids
    return (
        Text("yes", "green") if here else Text("no", "red" if served else "dim"),
        Text("yes", "green") if served else Text("-", "dim"),
    )


def print_card(catalogue: Catalogue, row: AssetRow, console: Console) -> None:
    """All that the catalogue knows of one model."""
    console.print(Text(f"{row.id}  revision {row.revision}", "bold"))
    console.print(Text(f"{row.summary}\n"))
    _print_pairs((*_facts(catalogue, row), *_figures(row)), console)
    console.print(Text("\nfiles", "bold"))
    _print_pairs(_files(catalogue.store, row), console)
    if row.card:
        console.print(Text(f"\ncard: {row.card}", "dim"))
        console.print(Text(first_part(ROOT / row.card)))


def _print_pairs(pairs: Iterable[tuple[str, str]], console: Console) -> None:
    columns = (Column(no_wrap=True, style="dim"), Column(overflow="fold"))
    table = Table(*columns, box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name, value in pairs:
        table.add_row(name, Text(value))
    console.print(table)


def _facts(catalogue: Catalogue, row: AssetRow) -> Iterator[tuple[str, str]]:
    yield "licence", row.licence
    yield "may be used for", row.usage
    yield "architecture", row.architecture
    if not isinstance(row, ModelRow):
        return
    yield "looks at", view_in_words(row.view)
    yield "outputs", labels_in_words(row.labels)
    scale, bias = row.calibration.scale, row.calibration.bias
    fitted = f"p_fake = sigmoid({scale:g} * logit {'+' if bias >= 0 else '-'} {abs(bias):g})"
    yield "calibration", fitted if (scale, bias) != (1, 0) else "none: p_fake is the sigmoid of the logit"
    yield "weight", f"{row.weight:g} in the fusion"
    if row.options:
        yield "options", ", ".join(f"{key}: {value}" for key, value in row.options.items())
    share = row.share
    yield (
        "a replica takes",
        f"{share.num_gpus:g} of a GPU, or {share.num_cpus:g} CPUs; {share.batch_frames} rows a pass",
    )
    yield "served", "yes" if row.id in catalogue.ids else f"no; UNMASK_MODELS={','.join((*catalogue.ids, row.id))} does"


def _figures(row: AssetRow) -> Iterator[tuple[str, str]]:
    for name, figures in (("reported by others", row.reported), ("measured here", row.measured)):
        for i, figure in enumerate(figures or ("nothing",)):
            yield ("" if i else name), f"- {figure}" if len(figures) > 1 else figure


def _files(store: Store, row: AssetRow) -> Iterator[tuple[str, str]]:
    for name, file in row.files.items():
        entry = store.record(row).get(name)
        yield name, _place(store, row, name)
        yield "  from", f"models/weights/{file.bundled}" if file.bundled else file.path or source_of(file)
        known = file.size_bytes or (entry.size_bytes if entry else None)
        about = f"about {size(file.about_bytes)}" if file.about_bytes else "unknown"
        yield "  size", about if known is None else f"{size(known)} ({known:,} bytes)"
        yield (
            "  sha256",
            file.sha256 or "not pinned; what is pulled is recorded, and anything else refused from then on",
        )
        if entry and entry.sha256 != file.sha256:
            kind = "converted" if entry.sha256 != entry.source_sha256 else "recorded"
            yield f"  {kind}", f"{entry.sha256}{f', commit {entry.commit}' if entry.commit else ''}"


def _place(store: Store, row: AssetRow, name: str) -> str:
    try:
        return f"installed: {store.file(row, name)}"
    except NotInstalled as error:
        return f"not installed; {error.accepted}"


def view_in_words(view: ViewRow) -> str:
    """What a detector is given, as a phrase."""
    if view.region == "audio":
        spacing = f"every {view.hop / SAMPLE_RATE:g} s" if view.hop else "evenly spaced"
        short = WAYS["repeat"] if view.fit == "repeat" else "silence added"
        seconds = view.size / SAMPLE_RATE
        return f"at most {view.count} windows of {seconds:.3g} s ({view.size:,} samples at 16 kHz), {spacing}; {short}"
    what = "whole frames" if view.region == "frame" else "crops of each face"
    margin = f", the box and {view.margin:.0%} on each side" if view.region == "face" and view.align == "box" else ""
    align = "" if view.align == "box" else f", aligned by {view.align.replace('_', ' ')}"
    least = f"; at least {view.minimum}" if view.minimum > 1 else ""
    return f"at most {view.count} {what}, {view.size} px, {WAYS[view.fit]} ({view.resample}){margin}{align}{least}"


def labels_in_words(labels: tuple[str, ...]) -> str:
    """What the network's outputs stand for, as a phrase."""
    if not labels:
        return "as the files themselves say (id2label)"
    return f"one logit, of {labels[0]}" if len(labels) == 1 else f"{len(labels)} logits: {', '.join(labels)}"


def first_part(card: Path) -> str:
    """A model card up to its first table or section, without its title."""
    try:
        lines = card.read_text("utf-8").splitlines()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    body = lines[1:] if lines[:1] and lines[0].startswith("# ") else lines
    end = next((i for i, line in enumerate(body) if line.startswith(("|", "#"))), len(body))
    return re.sub(r"(?<!\n)\n(?!\n)", " ", "\n".join(body[:end]).strip())
