"""Reading lists line by line, so that an error names every wrong line by its number and not only the first."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from training.datasets.items import DatasetError

NAMED = 10  # wrong lines that an error names; the others are counted

Row = TypeVar("Row")
Parsed = TypeVar("Parsed")


def each_line(
    path: Path, rows: Iterable[tuple[int, Row]], parse: Callable[[Row], Parsed], called: str = "line"
) -> list[Parsed]:
    """Parse numbered rows of a file.

    Args:
        path: for the message.
        rows: each with the number of its line.
        parse: raises ValueError with what is wrong.
        called: what is numbered.

    Raises:
        DatasetError: a row is wrong; the first ten are named.
    """
    parsed, wrong = [], []
    for number, row in rows:
        try:
            parsed.append(parse(row))
        except ValueError as error:
            wrong.append(f"{called} {number}: {error}")
    if wrong:
        more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise DatasetError(f"{path}: {'; '.join(wrong[:NAMED])}{more}.")
    return parsed


def words(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The words of each line that has any, with the line's number."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.split()


def table(path: Path, needed: tuple[str, ...], known: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with a header: cells by column, without the space around them.

    Args:
        path: the file, UTF-8, with or without a byte order mark.
        needed: columns that must be there.
        known: all columns there may be: a misspelt one would else be ignored in silence.

    Raises:
        DatasetError: the file cannot be read, or its header is wrong.
    """
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    header = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    lacking = [name for name in needed if name not in header]
    unknown = [name for name in header if name not in known]
    if lacking or unknown or len(set(header)) < len(header):
        found = f"its header is {','.join(header)!r}"
        raise DatasetError(f"{path}: {found}.", f"Needed: {', '.join(needed)}; known: {', '.join(known)}.")
    try:
        return [(reader.line_num, _cells(row)) for row in reader]
    except csv.Error as error:
        raise DatasetError(f"{path}: line {reader.line_num}: {error}.") from error


def _cells(row: dict[str | None, str | list[str] | None]) -> dict[str, str]:
    """Missing cells are empty; those beyond the header are one without a name, for `parse` to refuse."""
    return {
        name or "": value.strip() if isinstance(value, str) else ",".join(value or ()) for name, value in row.items()
    }


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text: {error.reason}.") from error
