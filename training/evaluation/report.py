"""One HTML page that needs nothing else: no scripts, no external files; plots are in it."""

from collections.abc import Iterable, Sequence
from html import escape

from training.evaluation.metrics import RESAMPLES
from training.evaluation.plots import histogram, reliability_diagram, robustness_curves, roc
from training.evaluation.provenance import Provenance
from training.evaluation.records import Record
from training.evaluation.summary import PART_RESAMPLES, Summary, columns
from training.evaluation.words import HEADLINES, figure, notes, number, tally, worst

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #1a1a1a; }
table { border-collapse: collapse; margin: 0.5em 0 1.5em; }
th, td { text-align: left; padding: 0.2em 1em 0.2em 0; border-bottom: 1px solid #ddd; vertical-align: top; }
th { font-weight: 600; } td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { display: inline-block; margin: 0 1em 1em 0; } figcaption { font-weight: 600; }
code { overflow-wrap: anywhere; } .note { border-left: 4px solid #c1440e; padding-left: 1em; }
"""

Rows = Iterable[Sequence[str]]


def html(summary: Summary, records: Sequence[Record], facts: Provenance) -> str:
    """The page.

    Args:
        summary: the figures.
        records: that they are of.
        facts: what was evaluated.
    """
    title = f"Evaluation of {facts.model}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_opening(summary, facts))}</p>",
        *(f'<p class="note">{escape(line)}</p>' for line in notes(summary)),
        *_headlines(summary),
        *_plots(summary, records),
        *_baselines(summary),
        *_detectors(summary),
        *_parts(summary),
        *_robustness(summary),
        *_mistakes(records),
        *_facts(summary, facts),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _opening(summary: Summary, facts: Provenance) -> str:
    counts = summary.counts
    split = f", split {facts.split}" if facts.split else ""
    return (
        f"{counts.real} real and {counts.fake} fake items of {facts.manifest}{split}, in {counts.groups} groups, on "
        f"{facts.date}. {counts.scored_real} reals and {counts.scored_fake} fakes got a score; {counts.frames} frames "
        f"have one of their own. Brackets are 95 % intervals from {RESAMPLES} resamples of the groups "
        f"({PART_RESAMPLES} for shares and parts)."
    )


def _headlines(summary: Summary) -> list[str]:
    low, high = summary.bounds
    rows = [(called, figure(summary.figures[name]), what) for name, called, what in HEADLINES]
    said = f"The verdict is REAL below {low:.2f}, FAKE above {high:.2f}, UNDETERMINED between."
    return ["<h2>Figures</h2>", f"<p>{said}</p>", _table(("figure", "value", "what it is"), rows)]


def _plots(summary: Summary, records: Sequence[Record]) -> list[str]:
    table = columns([record for record in records if not record.variant and record.p_fake is not None])
    return [
        _figure("ROC", roc(table.fake, table.p_fake, summary.bounds)),
        _figure("Reliability", reliability_diagram(table.fake, table.p_fake)),
        _figure("Scores", histogram(table.fake, table.p_fake, summary.bounds)),
    ]


def _baselines(summary: Summary) -> list[str]:
    rows = [(b.name, figure(b.auc), figure(b.lead), "yes" if b.beaten else "NO") for b in summary.baselines]
    return [
        "<h2>What trivial measures reach on the same items</h2>",
        _said(
            "Each alone, in whichever direction suits these items; where there is no such measure it counts as lowest. "
            "Beaten clearly: the whole interval of the lead is above 0."
        ),
        _table(("measure", "AUC alone", "the detector's lead", "beaten clearly"), rows),
    ]


def _detectors(summary: Summary) -> list[str]:
    rows = [
        (d.id, str(d.scored), figure(d.auc), figure(d.lead), number(d.ece), tally(d.status)) for d in summary.detectors
    ]
    header = ("detector alone", "items scored", "AUC of clips", "ensemble's lead on these", "calibration error")
    return ["<h2>Detectors</h2>", _table((*header, "what became of it"), rows)]


def _parts(summary: Summary) -> list[str]:
    if not summary.parts:
        return []
    rows = [
        (
            f"{part.what} {part.name}" + (f", against {part.against}" if part.against else ""),
            *(str(count) for count in (part.real, part.fake, part.groups)),
            figure(part.auc),
            "-" if part.baseline is None else f"{part.baseline.name} {figure(part.baseline.auc)}",
            "-" if part.baseline is None else "yes" if part.baseline.beaten else "NO",
            *(figure(share) for share in (part.false_alarm, part.detected, part.miss, part.abstained)),
        )
        for part in summary.parts
    ]
    header = ("part", "real", "fake", "groups", "AUC of clips", "closest trivial measure", "beaten clearly")
    return [
        "<h2>Sources and manipulations</h2>",
        _said(
            "Each manipulation against all reals, a source with one class only against all of the other, of its kinds."
        ),
        _table((*header, "reals called FAKE", "fakes called FAKE", "fakes called REAL", "UNDETERMINED"), rows),
    ]


def _robustness(summary: Summary) -> list[str]:
    if not summary.robustness:
        return []
    rows = [
        (
            f"{point.kind} {point.name}",
            "as is" if point.value is None else f"{point.value:g} ({point.unit})",
            f"{point.real} / {point.fake} / {point.failed}",
            *(figure(found) for found in (point.auc, point.false_alarm, point.miss, point.abstained)),
        )
        for point in summary.robustness
    ]
    header = ("degradation", "strength", "real / fake / failed", "AUC of clips")
    return [
        "<h2>Robustness</h2>",
        "<p>The same items, re-encoded at five strengths. Of a video the pictures are degraded, not its sound.</p>",
        *(_figure(title, plot) for title, plot in robustness_curves(summary.robustness)),
        _table((*header, "reals called FAKE", "fakes called REAL", "UNDETERMINED"), rows),
    ]


def _mistakes(records: Sequence[Record]) -> list[str]:
    high, low = worst(records)
    failed = [record for record in records if record.error and not record.variant]
    parts = ["<h2>Worst mistakes</h2>"]
    for title, found in (("Reals with the highest scores", high), ("Fakes with the lowest scores", low)):
        rows = [(record.name, number(record.p_fake or 0.0), record.verdict) for record in found]
        parts += [f"<h3>{title}</h3>", _table(("file", "p(fake)", "verdict"), rows) if rows else "<p>None.</p>"]
    if failed:
        rows = [(record.name, record.error, record.detail) for record in failed]
        parts += ["<h3>Not analysed</h3>", _table(("file", "error", "why"), rows)]
    return parts


def _facts(summary: Summary, facts: Provenance) -> list[str]:
    rows = [
        (
            row.id,
            row.revision,
            f"{row.scale:g} * logit {row.bias:+g}",
            f"{row.weight:g}",
            "; ".join(f"{name} {digest}" for name, digest in row.files_sha256.items()) or "not installed",
        )
        for row in facts.rows
    ]
    versions = ", ".join(f"{name} {number}" for name, number in facts.versions.items())
    failed = tally(summary.counts.failed) or "none"
    return [
        "<h2>What was evaluated</h2>",
        f"<p><code>{escape(facts.command)}</code></p>",
        _said(f"Manifest {facts.manifest}, sha256 {facts.manifest_sha256}. Failed items: {failed}. {versions}."),
        _table(("detector", "revision", "calibration", "weight", "sha256 of its files"), rows),
    ]


def _said(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _table(header: Sequence[str], rows: Rows) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _figure(title: str, source: str) -> str:
    caption = escape(title)
    return f'<figure><figcaption>{caption}</figcaption><img src="{source}" alt="{caption}"></figure>'
