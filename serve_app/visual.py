"""`unmask visualize`: a file in, the same file with the verdict drawn into it out, in this process and its children."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from serve_app.analysis import COLOURS
from serve_app.terminal import Refused


def visualize(path: Path, to: Path | None, model: str, out: Console, err: Console, *, heatmap: bool) -> None:
    """Analyse a file, write what it looks like with the verdict, and say where.

    Raises:
        UnknownModel, NotInstalled, WeightsError: as the pipeline.
        MediaError: the media cannot be analysed or drawn into; nothing is left behind.
        OSError: a file cannot be read or written.
        Refused: the file would overwrite itself.
    """
    from models.pipeline import Pipeline
    from models.render.scene import Scene
    from models.render.stream import render, suffix
    from serve_app.settings import read_settings

    settings = read_settings()
    catalogue, limits = settings.read_catalogue(), settings.limits()
    pipeline = Pipeline(catalogue, limits, precision=settings.precision, tools=settings.face_tools(catalogue))
    with err.status(f"Analysing {escape(str(path))} ..."):
        verdict = pipeline.analyze(path, model, heat=heatmap)
    if heatmap and not verdict.evidence.heat:
        err.print("No heatmap: no detector that decided on a face can tell where it looked.", soft_wrap=True)
    target = to or path.with_name(f"{path.stem}.unmask{suffix(verdict.media)}")
    if target.exists() and target.samefile(path):
        raise Refused(f"{target} is the file itself.", "Name another with -o.")
    with err.status(f"Drawing {escape(str(target))} ..."):
        write(target, render(path, Scene.of(verdict, catalogue.verdict), limits))
    out.print(
        f"{escape(str(target))}  [{COLOURS[verdict.verdict]}]{verdict.verdict}[/]", highlight=False, soft_wrap=True
    )


def write(target: Path, pieces: Iterable[bytes]) -> None:
    """Write a file that is made in pieces, whole or not at all."""
    try:
        with target.open("wb") as file:
            for piece in pieces:
                file.write(piece)
    except BaseException:
        target.unlink(missing_ok=True)  # half a film is none
        raise
