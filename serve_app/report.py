"""The report on one analysis: one page for people, that says what was found, how, and what was not looked at.

No script, nothing fetched, nothing that a file's name or its metadata could smuggle in: all text is escaped, pictures
are `data:` URIs, and the policy that goes with the page allows nothing else.
"""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from models.detectors.catalogue import Catalogue, ModelRow
from serve_app.chart import chart, clock, subject
from serve_app.errors import timestamp
from serve_app.schemas import DetectorBody, VerdictBody

FOLDER = Path(__file__).parent
TEMPLATE, STYLE = "report.html", "report.css"
SHOWN_FACES, SHOWN_MAPS = 24, 24
PICTURE = ("data:image/jpeg;base64,", "data:image/png;base64,")
MEBIBYTE = 2**20

STATUS = {
    "ok": "answered",
    "not_applicable": "does not apply",
    "not_needed": "was not needed",
    "failed": "failed",
    "late": "was too slow",
    "not_installed": "is not installed",
}
REGION = {"face": "faces", "frame": "whole frames", "audio": "sound"}
METHOD = {
    "grad_cam": "what raised the score",
    "occlusion": "what raised the score",
    "attention_rollout": "what was looked at",
}


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an analysis beside its verdict; `created_at` as RFC 3339."""

    id: str
    filename: str
    created_at: str
    reused_from: str | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """A detector as the report names it: what it said, and the catalogue's row, if it still is of that revision."""

    report: DetectorBody
    row: ModelRow | None

    @property
    def sha256(self) -> str:
        """Of its weights; empty where they are not known any more."""
        return (self.row.files["weights"].sha256 or "") if self.row else ""


def page(analysis: VerdictBody, about: About, catalogue: Catalogue) -> str:
    """The report as HTML.

    Args:
        analysis: with its pictures.
        about: what is known of it beside the verdict.
        catalogue: what is served now: the source of hashes, licences and bounds.
    """
    bounds = catalogue.verdict
    return _template().render(
        analysis=analysis,
        about=about,
        used=[_used(report, catalogue) for report in analysis.detectors],
        chart=chart(analysis, bounds.real_below, bounds.fake_above),
        bounds=bounds,
        unseen=unseen(analysis),
        faces=analysis.faces[:SHOWN_FACES],
        maps=[m for m in analysis.evidence.maps if is_picture(m.heatmap)][:SHOWN_MAPS],
        left_out=(max(len(analysis.faces) - SHOWN_FACES, 0), max(len(analysis.evidence.maps) - SHOWN_MAPS, 0)),
        style=style(),
        policy=policy(),
        made_at=timestamp(),
        version=version("unmask"),
    )


def unseen(analysis: VerdictBody) -> list[str]:
    """What was not looked at, or not well, each in a sentence; empty where all of it was."""
    media, analysed = analysis.media, analysis.analysed
    said = []
    if media.kind == "video" and media.frames_total:
        said.append(
            f"{media.frames_analysed} of {media.frames_total} frames were analysed, "
            f"spread over {clock(analysed.span_s)} of {clock(media.duration_s)}."
        )
    if media.kind == "image" and media.frames_total > 1:
        said.append(f"Of {media.frames_total} pictures in the file the first was analysed.")
    if media.audio_s and analysed.sound < 1:
        said.append(f"{analysed.sound:.0%} of the sound was analysed.")
    if media.kind == "video" and not media.audio_s:
        said.append("The file has no sound.")
    regions = {report.region for report in analysis.detectors if report.status == "ok"}
    said += [f"No detector looked at {REGION[region]}." for region in ("face", "frame") if region not in regions]
    said += [f"{d.id} {STATUS[d.status]}: {d.why or 'no reason is known'}" for d in analysis.detectors if is_absent(d)]
    said += [f"No map could be made for {missing.detector}: {missing.why}" for missing in analysis.evidence.unexplained]
    if analysis.credentials.status == "not_read":
        said.append(f"Content credentials were not read: {analysis.credentials.why or 'no reason is known'}")
    return said


def is_absent(report: DetectorBody) -> bool:
    """Whether a detector should have answered and did not."""
    return report.status in {"failed", "late", "not_installed"}


def is_picture(uri: str) -> bool:
    """Whether a text is one of the pictures that we make: nothing else gets into the page as an address."""
    return uri.startswith(PICTURE)


def policy() -> str:
    """The page's Content-Security-Policy: its own style, pictures within it, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
    )


@cache
def style() -> str:
    """The page's style sheet."""
    return (FOLDER / STYLE).read_text("utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clock"] = clock
    environment.filters["mib"] = lambda size_bytes: f"{size_bytes / MEBIBYTE:.2f} MiB ({size_bytes:,} bytes)"
    environment.tests["picture"] = is_picture
    environment.globals.update(subject=subject, STATUS=STATUS, REGION=REGION, METHOD=METHOD)
    return environment.get_template(TEMPLATE)


def _used(report: DetectorBody, catalogue: Catalogue) -> Used:
    row = next((row for row in catalogue.rows if (row.id, row.revision) == (report.id, report.revision)), None)
    return Used(report, row)
