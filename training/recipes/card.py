"""`python -m training.recipes.card ID --summary FILE`: the figures of a model card, between its two marks.

Everything else of a card is prose, by hand. Several summaries may be given, one part of the card each: validation of
faces and of voices, or two splits.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models.detectors.catalogue import read_catalogue
from models.detectors.store import ROOT
from training.recipes.errors import TrainingError

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
HEADLINES = {
    "auc": "AUC of clips",
    "frame_auc": "AUC of single frames",
    "eer": "equal error rate",
    "accuracy": "accuracy at 0.5",
    "brier": "Brier score",
    "ece": "calibration error",
    "false_alarm": "reals called FAKE",
    "abstained_real": "reals UNDETERMINED",
    "detected": "fakes called FAKE",
    "abstained_fake": "fakes UNDETERMINED",
}
SHARES = ("false_alarm", "abstained_real", "detected", "abstained_fake")
HIGHEST_FALSE_ALARM = 0.1  # what a detector that takes part in verdicts may call fake of real media

Content = dict[str, Any]


def write_figures(card: Path, summaries: Sequence[Path]) -> None:
    """Replace what is between the marks by tables of these summaries.

    Raises:
        TrainingError: the card lacks the marks, or a summary cannot be read.
    """
    text = card.read_text("utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise TrainingError(f"{card} lacks the lines {BEGIN} and {END}.", "Figures are written between them.")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    parts = "\n\n".join("\n".join(figures(_read(path))) for path in summaries)
    card.write_text(f"{head}{BEGIN}\n\n{parts}\n\n{END}{tail}", "utf-8")


def figures(summary: Content) -> Iterator[str]:
    """Markdown of one summary."""
    facts, counts = summary["provenance"], summary["counts"]
    manifest = Path(facts["manifest"])
    data = f"{manifest.parent.name}/{manifest.name}" + (f", split {facts['split']}" if facts["split"] else "")
    low, high = summary["bounds"]
    yield (
        f"{data}: {counts['real']} real and {counts['fake']} fake items of {counts['groups']} groups, measured on "
        f"{facts['date'][:10]} through the service's pipeline; 95 % intervals over groups. REAL below {low:g}, FAKE "
        f"above {high:g}. {_left_out(counts)}"
    )
    yield from _calibrations(facts)
    yield from _headlines(summary)
    yield from _parts(summary, "manipulation", "forged by")
    yield from _parts(summary, "source", "source")
    yield from _trivial(summary)
    yield from _members(summary)
    yield from _robustness(summary)
    yield from ("", f"`{_shown(facts['command'])}`")


def _left_out(counts: Content) -> str:
    unscored, failed = sum(counts["unscored"].values()), sum(counts["failed"].values())
    return f"Without a score: {unscored}; not analysed: {failed}."


def _calibrations(facts: Content) -> Iterator[str]:
    yield ""
    for row in facts["rows"]:
        fitted = f"p(fake) = sigmoid({row['scale']:g} * logit {row['bias']:+g})"
        yield f"- `{row['id']}`: {fitted}, weight {row['weight']:g}, sha256 `{row['files_sha256'].get('weights', '-')}`"


def _headlines(summary: Content) -> Iterator[str]:
    found = summary["figures"]
    rows = [
        (words, _share(found[name]) if name in SHARES else _figure(found[name]))
        for name, words in HEADLINES.items()
        if found[name]["value"] is not None
    ]
    yield from _table(("figure", "value [95 %]"), rows)


def _parts(summary: Content, what: str, header: str) -> Iterator[str]:
    parts = [part for part in summary["parts"] if part["what"] == what]
    rows = [
        (
            part["name"],
            f"{part['real']} / {part['fake']} / {part['groups']}",
            _figure(part["auc"]),
            _closest(part["baseline"]),
            *(_share(part[name]) for name in ("false_alarm", "detected", "abstained")),
        )
        for part in parts
    ]
    columns = (header, "real / fake / groups", "AUC of clips", "closest trivial measure", "reals called FAKE")
    if rows:
        yield from _table((*columns, "fakes called FAKE", "UNDETERMINED"), rows)


def _closest(baseline: Content | None) -> str:
    if baseline is None:
        return "-"
    beaten = "" if baseline["lead"]["low"] is not None and baseline["lead"]["low"] > 0 else ", NOT clearly beaten"
    return f"{baseline['name']} {baseline['auc']['value']:.3f}{beaten}"


def _trivial(summary: Content) -> Iterator[str]:
    rows = [
        (b["name"], _figure(b["auc"]), _figure(b["lead"]), "yes" if b["lead"]["low"] > 0 else "NO")
        for b in summary["baselines"]
    ]
    yield from _table(("trivial measure alone", "AUC", "the detector's lead", "beaten clearly"), rows)


def _members(summary: Content) -> Iterator[str]:
    if len(summary["detectors"]) > 1:
        rows = [(d["id"], str(d["scored"]), _figure(d["auc"]), _figure(d["lead"])) for d in summary["detectors"]]
        yield from _table(("member alone", "items", "AUC of clips", "the ensemble's lead"), rows)


def _robustness(summary: Content) -> Iterator[str]:
    rows = [
        (
            f"{point['kind']} {point['name']}",
            "as is" if point["value"] is None else f"{point['value']:g} ({point['unit']})",
            f"{point['real']} / {point['fake']}",
            _figure(point["auc"]),
            _share(point["false_alarm"]) + _warning(point["false_alarm"]),
            _share(point["abstained"]),
        )
        for point in summary["robustness"]
    ]
    if rows:
        header = ("degraded by", "strength", "real / fake", "AUC of clips", "reals called FAKE", "UNDETERMINED")
        yield from _table(header, rows)


def _warning(share: Content) -> str:
    return " **above 10 %**" if share["value"] is not None and share["value"] > HIGHEST_FALSE_ALARM else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield ""
    yield _line(header)
    yield _line(["---"] * len(header))
    yield from map(_line, rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(found: Content) -> str:
    if found["value"] is None:
        return "-"
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _share(found: Content) -> str:
    if found["value"] is None:
        return "-"
    return f"{found['value']:.1%} [{found['low']:.1%}, {found['high']:.1%}]".replace("%", " %")


def _shown(command: str) -> str:
    """Without the folders of the machine it ran on."""
    return " ".join(Path(word).name if word.startswith("/") else word for word in command.split(" "))


def _read(path: Path) -> Content:
    try:
        content: Content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is no summary: {error}.") from error
    return content


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description="Write the figures of a model card.")
    parser.add_argument("id", help="of the catalogue's row, which names the card; or a path")
    parser.add_argument("--summary", type=Path, nargs="+", required=True, help="summary.json of evaluations")
    args = parser.parse_args()
    try:
        named = Path(args.id)
        card = named if named.suffix == ".md" else ROOT / read_catalogue().asset(args.id).card
        write_figures(card, args.summary)
    except TrainingError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
