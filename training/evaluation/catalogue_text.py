"""Writes calibration, weight, cost and measured figures of rows, and a cascade's bounds, into the catalogue's text.

Every other byte stays: YAML writers lose comments and layout. The parser's marks say where each value stands, and
only those characters are replaced; then the new text is read as the service reads it and compared with the old:
whatever else differs, nothing is written.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from models.detectors.catalogue import CalibrationRow, CascadeRow, Catalogue, ModelRow, read_catalogue
from models.errors import CatalogueError
from training.evaluation.errors import EvaluationError


@dataclass(frozen=True, slots=True)
class Change:
    """What a row is to say.

    Attributes:
        id: the row's.
        scale, bias: of its calibration.
        weight: in the fusion.
        measured: a line for `measured`.
        replaces: how the line begins that this one takes the place of, as an earlier run on the same data wrote it; if
            there is none, the line is added at the end.
        cost: seconds per clip; None leaves it as it is.
        cost: seconds per clip; None leaves it as it is.
    """

    id: str
    scale: float
    bias: float
    weight: float
    measured: str
    replaces: str
    cost: float | None = None

    def applied(self, row: ModelRow) -> ModelRow:
        """The row as it should read."""
        kept = [line for line in row.measured if not line.startswith(self.replaces)]
        at = next((i for i, line in enumerate(row.measured) if line.startswith(self.replaces)), len(row.measured))
        return row.model_copy(
            update={
                "calibration": CalibrationRow(scale=self.scale, bias=self.bias),
                "weight": self.weight,
                "cost": row.cost if self.cost is None else self.cost,
                "measured": (*kept[:at], self.measured, *kept[at:]),
            }
        )


@dataclass(frozen=True, slots=True)
class _Edit:
    """Characters `start` to `end` become `text`."""

    start: int
    end: int
    text: str


def write(path: Path, changes: Sequence[Change], cascade: CascadeRow | None = None) -> None:
    """Change rows of a catalogue file, and its cascade if one is given.

    Raises:
        EvaluationError: a row's text cannot be changed safely, or the file cannot be written; it is as it was.
        CatalogueError: the file is no catalogue.
    """
    before = read_catalogue(path)
    try:
        old = path.read_bytes().decode("utf-8")
        new = edited(old, changes, cascade)
        wanted = replace(before, cascade=cascade or before.cascade)
        _replace(path.resolve(), new.encode("utf-8"), lambda file: _verify(wanted, file, changes))
    except OSError as error:
        raise EvaluationError(f"{path} cannot be changed: {error.strerror}.") from error


def _replace(path: Path, content: bytes, check: Callable[[Path], None]) -> None:
    """Put new content in a file's place, whole or not at all, once `check` of the new file raises nothing."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_bytes(content)
        check(new)
        new.chmod(path.stat().st_mode)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def edited(text: str, changes: Sequence[Change], cascade: CascadeRow | None = None) -> str:
    """The text with the rows, and the cascade, changed.

    Raises:
        EvaluationError: a row is not written the way this can change.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    edits = [edit for change in changes for edit in _edits(text, _row(root, change.id), change)]
    edits += [] if cascade is None else [_cascade(text, root, cascade)]
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _row(root: yaml.Node | None, name: str) -> yaml.MappingNode:
    """The row's node."""
    models = _value(root, "models") if isinstance(root, yaml.MappingNode) else None
    for row in models.value if isinstance(models, yaml.SequenceNode) else []:
        found = _value(row, "id") if isinstance(row, yaml.MappingNode) else None
        if isinstance(found, yaml.ScalarNode) and found.value == name:
            if row.flow_style or "view" not in {key.value for key, _ in row.value}:
                raise _unsafe(name, "it is not written as lines of `key: value`")
            mapping: yaml.MappingNode = row
            return mapping
    raise EvaluationError(f"The catalogue has no row {name}.")


def _edits(text: str, row: yaml.MappingNode, change: Change) -> Iterator[_Edit]:
    """The changes to what is there, then one insertion, after `view`, of what is not."""
    indent = " " * row.value[0][0].start_mark.column
    absent = []
    calibration = _value(row, "calibration")
    if calibration is None:
        absent.append(f"{indent}calibration: {{ scale: {change.scale!r}, bias: {change.bias!r} }}")
    else:
        yield from _calibration(calibration, change)
    weight = _value(row, "weight")
    if weight is None:
        absent.append(f"{indent}weight: {change.weight!r}")
    else:
        yield _replaced(weight, repr(change.weight))
    cost = _value(row, "cost")
    if change.cost is not None and cost is None:
        absent.append(f"{indent}cost: {change.cost!r}")
    elif change.cost is not None and cost is not None:
        yield _replaced(cost, repr(change.cost))
    measured = _value(row, "measured")
    if measured is None:
        absent += [f"{indent}measured:", f"{indent}  - {_quoted(change.measured)}"]
    else:
        yield _measured(text, measured, change)
    if absent:
        view = _value(row, "view")
        assert view is not None, "a row without a view was refused"
        yield _inserted(text, _last_line(view), absent)


def _cascade(text: str, root: yaml.Node | None, cascade: CascadeRow) -> _Edit:
    """The whole section anew, in the place of the old one, or before the rows."""
    lines = ["cascade:", f"  real_below: {cascade.real_below!r}", f"  fake_above: {cascade.fake_above!r}"]
    lines.append(f"  measured: {_quoted(cascade.measured)}")
    assert isinstance(root, yaml.MappingNode), "a file that is no mapping was refused"
    marks = {key.value: (key.start_mark, value) for key, value in root.value}
    if "cascade" not in marks:
        start = marks["models"][0].index
        return _Edit(start, start, "".join(f"{line}\n" for line in lines) + "\n")
    start, old = marks["cascade"]
    every = text.splitlines(keepends=True)
    ending = "\r\n" if every[start.line].endswith("\r\n") else "\n"
    end = sum(len(line) for line in every[: _last_line(old) + 1])
    return _Edit(start.index, end, "".join(line + ending for line in lines))


def _calibration(node: yaml.Node, change: Change) -> Iterator[_Edit]:
    values = {name: _value(node, name) for name in ("scale", "bias")} if isinstance(node, yaml.MappingNode) else {}
    if None not in values.values() and values:
        for name, value in values.items():
            assert value is not None
            yield _replaced(value, repr(getattr(change, name)))
    elif isinstance(node, yaml.MappingNode) and node.flow_style:
        whole = f"{{ scale: {change.scale!r}, bias: {change.bias!r} }}"
        yield _Edit(node.start_mark.index, node.end_mark.index, whole)
    else:
        raise _unsafe(change.id, "its calibration lacks a scale or a bias")


def _measured(text: str, node: yaml.Node, change: Change) -> _Edit:
    if not isinstance(node, yaml.SequenceNode) or node.flow_style:
        raise _unsafe(change.id, "`measured` is not a list of lines")
    for line in node.value:
        if line.value.startswith(change.replaces):
            return _replaced(line, _quoted(change.measured))
    return _inserted(text, _last_line(node), [" " * node.start_mark.column + f"- {_quoted(change.measured)}"])


def _replaced(node: yaml.Node, text: str) -> _Edit:
    if not isinstance(node, yaml.ScalarNode) or node.style in {"|", ">"}:
        raise EvaluationError(f"Line {node.start_mark.line + 1} of the catalogue is not a plain value.")
    return _Edit(node.start_mark.index, node.end_mark.index, text)


def _inserted(text: str, after_line: int, lines: Sequence[str]) -> _Edit:
    """New lines after a line, counted from 0, ended as that line is."""
    every = text.splitlines(keepends=True)
    at = sum(len(line) for line in every[: after_line + 1])
    last = every[after_line]
    ending = last[len(last.rstrip("\r\n")) :]
    if not ending:  # the file's last line, not ended
        return _Edit(at, at, "".join(f"\n{line}" for line in lines))
    return _Edit(at, at, "".join(line + ending for line in lines))


def _last_line(node: yaml.Node) -> int:
    """Where the node's last character stands; a block's own end mark lies behind the comments that follow it."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.line)
    last = node.value[-1]
    return _last_line(last[1] if isinstance(last, tuple) else last)


def _value(node: yaml.Node, name: str) -> yaml.Node | None:
    return next((value for key, value in node.value if key.value == name), None)


def _quoted(text: str) -> str:
    """A JSON string is a double-quoted YAML string."""
    return json.dumps(text, ensure_ascii=False)


def _verify(before: Catalogue, new: Path, changes: Sequence[Change]) -> None:
    """Refuses a text that says anything else than the old one with the changes."""
    by_id = {change.id: change for change in changes}
    wanted = tuple(by_id[row.id].applied(row) if row.id in by_id else row for row in before.every)
    try:
        after = read_catalogue(new)
    except CatalogueError as error:
        raise EvaluationError(f"The change would break the catalogue, so it was not made: {error.detail}") from error
    rest = (before.tools, before.verdict, before.cascade, before.ids)
    if (after.every, after.tools, after.verdict, after.cascade, after.ids) != (wanted, *rest):
        wrong = [row.id for row, should in zip(after.every, wanted, strict=True) if row != should]
        raise EvaluationError(f"The change would alter more than was asked ({', '.join(wrong)}), so it was not made.")


def _unsafe(name: str, why: str) -> EvaluationError:
    return EvaluationError(f"The row {name} cannot be changed safely: {why}.", "Write the values in by hand.")
