"""`unmask analyze`: files in, verdicts out, on a terminal or as JSON lines."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from models.errors import UnknownModel, UnmaskError, WrongSelection
from models.types import Verdict
from serve_app.client import Client, ServiceError
from serve_app.progress import showing
from serve_app.schemas import MediaBody, VerdictBody
from serve_app.settings import Settings, read_settings
from serve_app.terminal import err

COLOURS = {"FAKE": "bold red", "REAL": "bold green", "UNDETERMINED": "bold yellow"}

REGIONS = {"face": "faces", "frame": "whole frames", "audio": "voice"}

ABSENT = frozenset({"failed", "late", "not_installed"})  # should have answered
WHOLE = 0.995  # of the sound: less is said

Analyst = Callable[[Path, str], VerdictBody]
Printer = Callable[[Path, "VerdictBody | Failure"], None]


class Failure(Exception):
    """A file that could not be analysed: `code` is the cause's short name."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def local(*, explain: bool = False) -> Analyst:
    """Analyse in this process, without Ray; with saliency maps if they are asked for."""
    analyze, _ = pipeline(explain=explain)
    return lambda path, model: VerdictBody.model_validate(analyze(path, model))


def pipeline(*, explain: bool) -> tuple[Callable[[Path, str], Verdict], Settings]:
    """What analyses in this process, and the settings it was made with."""
    from models.pipeline import Pipeline  # remote analyses need no torch

    settings = read_settings()
    catalogue = settings.read_catalogue()
    tools = settings.face_tools(catalogue)
    limits, anchors = settings.limits(), settings.trust_anchors()
    made = Pipeline(catalogue, limits, precision=settings.precision, tools=tools, trust_anchors=anchors)

    def analyze(path: Path, model: str) -> Verdict:
        with err.status(f"Analysing {escape(str(path))} ..."):
            return made.analyze(path, model, explain=explain)

    return analyze, settings


def remote(client: Client, *, explain: bool = False) -> Analyst:
    """Analyse on a server; with saliency maps if they are asked for."""

    def analyst(path: Path, model: str) -> VerdictBody:
        with showing(str(path)) as bar:
            return client.analyze(path, model, explain=explain, on_progress=bar.uploaded)

    return analyst


def run(files: Iterable[Path], model: str, analyst: Analyst, show: Printer) -> bool:
    """Analyse each file and show what came of it; whether any failed. One bad file fails alone."""
    failed = False
    for path in files:
        try:
            show(path, analyst(path, model))
        except (UnknownModel, WrongSelection):
            raise
        except (UnmaskError, ServiceError) as error:
            failed = True
            show(path, Failure(error.code, str(error)))
        except OSError as error:
            failed = True
            hint = " Give files, or a pattern such as folder/*." if isinstance(error, IsADirectoryError) else ""
            show(path, Failure("cannot_read_file", f"{error.strerror or error}.{hint}"))
    return failed


def printer(as_json: bool, out: Console, err: Console) -> Printer:
    """JSON lines if asked for or if standard output is not a terminal, else words."""
    if as_json or not out.is_terminal:
        return lambda path, result: print(json_line(path, result), file=out.file, flush=True)
    return lambda path, result: in_words(path, result, out if isinstance(result, VerdictBody) else err)


def noting(results: list[tuple[Path, VerdictBody | Failure]], show: Printer) -> Printer:
    """A printer that also notes what came of each file."""

    def shown(path: Path, result: VerdictBody | Failure) -> None:
        results.append((path, result))
        show(path, result)

    return shown


def table(results: Iterable[tuple[Path, VerdictBody | Failure]]) -> Table:
    """A line per file."""
    lines = Table("file", "verdict", "p(fake)", "why")
    for path, result in results:
        if isinstance(result, Failure):
            lines.add_row(Text(str(path)), Text("not analysed", "bold red"), "", Text(result.detail))
            continue
        score = "" if result.p_fake is None else f"{result.p_fake:.2f}"
        why = result.reason or result.evidence.sentence
        lines.add_row(Text(str(path)), Text(result.verdict, COLOURS[result.verdict]), score, Text(why))
    return lines


def json_line(path: Path, result: VerdictBody | Failure) -> str:
    """One file's result as one line. A failure has the verdict's keys too, and `error`, its short name."""
    if isinstance(result, VerdictBody):
        return json.dumps({"path": str(path), **result.model_dump(mode="json")})
    nothing = {"verdict": "UNDETERMINED", "p_fake": None, "confidence": 0.0}
    return json.dumps({"path": str(path), **nothing, "reason": result.detail, "error": result.code})


def in_words(path: Path, result: VerdictBody | Failure, console: Console) -> None:
    """One file's result for a person."""
    if isinstance(result, Failure):
        console.print(
            f"[bold]{escape(str(path))}[/]  [bold red]not analysed[/]  {escape(result.detail)}",
            highlight=False,
        )
        return
    score = "" if result.p_fake is None else f"  p(fake) {result.p_fake:.2f}, confidence {result.confidence:.2f}"
    console.print(
        f"[bold]{escape(str(path))}[/]  [{COLOURS[result.verdict]}]{result.verdict}[/]{score}",
        highlight=False,
    )
    for line in _facts(result):
        console.print(f"  {escape(line)}", highlight=False)
    if absent := [f"{d.id} ({d.status.replace('_', ' ')})" for d in result.detectors if d.status in ABSENT]:
        console.print(f"  [yellow]degraded[/], did not answer: {', '.join(absent)}", highlight=False)
    for line in _reservations(result):
        console.print(f"  [yellow]{escape(line)}[/]", highlight=False)
    if result.credentials.status != "none":
        console.print(f"  {escape(result.credentials.sentence)}", highlight=False)
    answered = ", ".join(d.id for d in result.detectors if d.status == "ok") or "no detector"
    console.print(
        f"  [dim]{_what(result.media)} analysed in {result.timings.total_s:.2f} s by {answered}[/]",
        highlight=False,
    )


def _facts(result: VerdictBody) -> Iterator[str]:
    """What was found: in a sentence, of each modality and face, over time, and by each detector."""
    if said := result.evidence.sentence or result.reason:
        yield said
    yield from _findings(result)
    for face in result.faces:
        score = "not scored" if face.p_fake is None else f"p(fake) {face.p_fake:.2f}"
        mark = ", decided" if face.decided else ""
        when = "" if result.media.kind == "image" else f"{face.start_s:.1f} to {face.end_s:.1f} s, "
        yield f"face {face.track}: {when}{score}{mark}"
    yield from _course(result)
    scores = [f"{d.id} {d.p_fake:.2f}" for d in result.detectors if d.p_fake is not None]
    if len(scores) > 1:  # one alone says what the verdict says
        yield f"p(fake) of each: {', '.join(scores)}"
    for unexplained in result.evidence.unexplained:
        yield f"no map by {unexplained.detector}: {unexplained.why}"


def _findings(result: VerdictBody) -> Iterator[str]:
    """What faces, frames and voice say each, unless one alone says what the verdict says; and where they differ."""
    told = [finding for finding in result.findings if finding.reason_code != "nothing_applicable"]
    if len(told) > 1 or any(not finding.decides for finding in told):
        for finding in told:
            score = finding.reason if finding.p_fake is None else f"p(fake) {finding.p_fake:.2f}"
            note = "" if finding.decides else "; only reported, decides nothing"
            yield f"{REGIONS[finding.region]}: {finding.verdict}, {score}{note}"
    if result.disagreement and not result.evidence.sentence:  # which says it already
        yield result.disagreement


def _course(result: VerdictBody) -> Iterator[str]:
    """Where the score of a subject crosses from one side to the other."""
    for run in result.temporal:
        if run.transitions:
            changes = ", ".join(f"{change.to} from {change.t_s:.1f} s" for change in run.transitions)
            yield f"{run.source} over time: {run.trend}, {changes}"


def _reservations(result: VerdictBody) -> Iterator[str]:
    """What the verdict does not cover, or not as it seems."""
    rough = [d.id for d in result.detectors if d.p_fake is not None and not d.calibrated]
    if rough:
        yield f"not calibrated: {', '.join(rough)}; their p(fake) puts clips in order and is no probability"
    if result.media.frames_analysed and result.media.audio_s and all(d.region != "audio" for d in result.detectors):
        yield f"the sound ({result.media.audio_s:.1f} s) was not listened to: no detector of sound was asked"
    if 0 < result.analysed.sound < WHOLE:
        yield f"{result.analysed.sound:.0%} of the sound was listened to"


def _what(media: MediaBody) -> str:
    """What was looked at or listened to."""
    if media.kind == "image":
        first = f", the first of {media.frames_total}," if media.frames_total > 1 else ""
        return f"picture of {media.width}x{media.height}{first}"
    if not media.frames_analysed:
        return f"{media.audio_s:.1f} s of sound"
    return f"{media.frames_analysed} of {media.frames_total} frames of {media.duration_s:.1f} s"
