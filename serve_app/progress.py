"""How far something is, on the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from serve_app.client import JobProgress
from serve_app.terminal import err


class Bar:
    """How far something is, on the terminal; nothing where standard error is none."""

    def __init__(self, bar: Progress, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task("waiting", total=1.0, title=title)

    def uploaded(self, sent: int, total: int) -> None:
        """So many bytes have left."""
        self._bar.update(self._task, description="sending" if sent < total else "analysing", completed=sent / total)

    def worked(self, now: JobProgress) -> None:
        """A moment of a job."""
        self._bar.update(self._task, description=now.stage or now.state, completed=now.fraction)


@contextmanager
def showing(title: str) -> Iterator[Bar]:
    """A bar that is gone at the end."""
    columns = (TextColumn("{task.fields[title]}", markup=False), TextColumn("{task.description}"), BarColumn())
    with Progress(
        *columns, TaskProgressColumn(), TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal
    ) as progress:
        yield Bar(progress, title)
