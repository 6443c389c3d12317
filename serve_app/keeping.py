"""`unmask analyze --out FOLDER`: the media with the verdict drawn into it, and a report, beside the answer."""

from pathlib import Path

from rich.markup import escape

from serve_app.analysis import Analyst, pipeline
from serve_app.client import Client
from serve_app.client.errors import from_problem
from serve_app.progress import showing
from serve_app.schemas import VerdictBody
from serve_app.terminal import Refused, err
from serve_app.visual import write


def analyst(folder: Path, client: Client | None, *, explain: bool) -> Analyst:
    """Analyses, and writes into the folder: on a server, or in this process."""
    return _remote(folder, client, explain=explain) if client else _local(folder, explain=explain)


def stem(path: Path, verdict: VerdictBody) -> str:
    """What files about a file begin with: two of one name in different folders do not meet."""
    return f"{path.stem}-{verdict.media.sha256[:8]}"


def _remote(folder: Path, client: Client, *, explain: bool) -> Analyst:
    from models.render.stream import suffix
    from models.types import MediaFacts

    def analyze(path: Path, model: str) -> VerdictBody:
        with showing(str(path)) as bar:
            job = client.submit(path, model, visualize=True, explain=explain, on_progress=bar.uploaded)
            ended = job.wait(bar.worked)
        (file,) = ended.files
        if problem := file.error or ended.error:
            raise from_problem(problem.model_dump())
        if file.analysis_id is None:
            raise Refused(f"{path}: the job was {ended.state}.")
        body = client.analysis(file.analysis_id)
        media = MediaFacts(**body.media.model_dump())
        drawn = client.visual(body.id, to=folder / f"{stem(path, body)}.unmask{suffix(media)}")
        client.report(body.id, to=folder / f"{stem(path, body)}.html")
        err.print(f"{drawn}", markup=False, highlight=False, soft_wrap=True)
        return body

    return analyze


def _local(folder: Path, *, explain: bool) -> Analyst:
    from models.render.scene import Scene
    from models.render.stream import render, suffix
    from serve_app.errors import timestamp
    from serve_app.report import About, page

    verdict_of, settings = pipeline(explain=explain)
    catalogue, limits = settings.read_catalogue(), settings.limits()

    def analyze(path: Path, model: str) -> VerdictBody:
        verdict = verdict_of(path, model)
        body = VerdictBody.model_validate(verdict)
        target = folder / f"{stem(path, body)}.unmask{suffix(verdict.media)}"
        with err.status(f"Drawing {escape(str(target))} ..."):
            write(target, render(path, Scene.of(verdict, catalogue.verdict), limits))
        about = About("not recorded", path.name, timestamp())
        target.with_name(f"{stem(path, body)}.html").write_text(page(body, about, catalogue), "utf-8")
        return body

    return analyze
