"""The catalogue: what detectors there are (configs/models.yaml), and building one from its row.

Reading it imports no torch, so the ingress can; only `load_detector` does.
"""

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import ValidationError

from models.detectors.contract import Detector, Recipe
from models.detectors.rows import (
    AssetRow,
    CalibrationRow,
    CascadeRow,
    CatalogueFile,
    FileRow,
    ModelRow,
    ShareRow,
    VerdictRow,
    ViewRow,
)
from models.detectors.store import ROOT, Store
from models.errors import CatalogueError, UnknownModel, WrongSelection
from models.types import Mode, Precision

__all__ = [
    "CASCADE",
    "CATALOGUE_FILE",
    "ENSEMBLE",
    "AssetRow",
    "CalibrationRow",
    "CascadeRow",
    "Catalogue",
    "FileRow",
    "ModelRow",
    "ShareRow",
    "VerdictRow",
    "ViewRow",
    "decides",
    "describe",
    "load_detector",
    "mode_of",
    "read_catalogue",
]

CATALOGUE_FILE = ROOT / "configs" / "models.yaml"
ENSEMBLE, CASCADE = "ensemble", "cascade"  # names that clients use like a model's


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What there is, and what of it is served.

    Attributes:
        rows: the detectors that are served, in the file's order.
        verdict: the bounds of the verdict.
        store: where files are.
        every: all detectors of the file, served or not.
        tools: what the extractor can use, such as a face finder.
        cascade: while it asks the next detector.
    """

    rows: tuple[ModelRow, ...]
    verdict: VerdictRow
    store: Store = field(default_factory=Store)
    every: tuple[ModelRow, ...] = ()
    tools: tuple[AssetRow, ...] = ()
    cascade: CascadeRow = field(default_factory=CascadeRow)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the detectors that are served."""
        return tuple(row.id for row in self.rows)

    @property
    def together(self) -> tuple[ModelRow, ...]:
        """The rows that answer when none is named; those that want to be named too, if no others are served."""
        return tuple(row for row in self.rows if not row.by_name_only) or self.rows

    def asset(self, name: str) -> AssetRow:
        """The row of any detector or tool, served or not; raises `UnknownModel` naming those there are."""
        rows = (*self.every, *self.tools)
        for row in rows:
            if row.id == name:
                return row
        raise _unknown(name, [row.id for row in rows])

    def row(self, model: str) -> ModelRow:
        """The row of that id; raises `UnknownModel` naming those there are."""
        for row in self.rows:
            if row.id == model:
                return row
        raise _unknown(model, [ENSEMBLE, CASCADE, *self.ids])

    def choose(self, model: str) -> tuple[ModelRow, ...]:
        """The rows that answer: `together` for `ensemble` and `cascade`, one for its id, several for `a,b`.

        Raises:
            UnknownModel: there is none of that name; those there are are named.
            WrongSelection: a list names one twice, or something that is no single model.
        """
        if mode_of(model) in {ENSEMBLE, CASCADE}:
            return self.together
        names = [name.strip() for name in model.split(",")]
        if wrong := sorted({name or "nothing" for name in names if not name or name in {ENSEMBLE, CASCADE}}):
            raise WrongSelection(f"{model!r} lists {', '.join(wrong)}.", "A list is of ids of single models.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise WrongSelection(f"{model!r} names {', '.join(twice)} more than once.", "Name each model once.")
        return tuple(self.row(name) for name in names)


def mode_of(model: str) -> Mode:
    """How a model's name is to be answered: by all, by a cascade, by several of them, or by one."""
    if model == ENSEMBLE:
        return "ensemble"
    if model == CASCADE:
        return "cascade"
    return "selection" if "," in model else "single"


def decides(row: ModelRow, mode: Mode) -> bool:
    """Whether a row has a part in the verdict: those that are fused, and every one that was asked for by name."""
    return row.fused or mode in {"selection", "single"}


def _unknown(name: str, there_are: Sequence[str]) -> UnknownModel:
    near = difflib.get_close_matches(name, there_are, 1)
    meant = f"there is no model {name!r}" + (f"; {near[0]} is alike." if near else ".")
    return UnknownModel(meant, f"Available: {', '.join(there_are)}.")


def read_catalogue(path: Path = CATALOGUE_FILE, served: Sequence[str] = (), store: Store | None = None) -> Catalogue:
    """Read and check a catalogue file.

    Args:
        path: the file.
        served: ids of the detectors to serve; none for those the file enables.
        store: where files are; None for the default folder.

    Raises:
        CatalogueError: every wrong key of the file is named, or what is to be served is not in it.
    """
    try:
        content = CatalogueFile.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path} is not YAML: {error}.") from error
    except ValidationError as error:
        raise CatalogueError(f"{path}: {describe(error)}") from error
    ids = [row.id for row in (*content.models, *content.tools)]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise CatalogueError(f"{path}: more than one row has the id {', '.join(twice)}.")
    if taken := sorted({ENSEMBLE, CASCADE} & set(ids)):
        raise CatalogueError(f"{path}: {', '.join(taken)} cannot be the id of a row.")
    rows = _served(content.models, served, path)
    return Catalogue(rows, content.verdict, store or Store(), content.models, content.tools, content.cascade)


def _served(rows: Sequence[ModelRow], served: Sequence[str], path: Path) -> tuple[ModelRow, ...]:
    known = {row.id for row in rows}
    if unknown := [name for name in served if name not in known]:
        raise CatalogueError(
            f"{path} has no model {', '.join(unknown)}, which is to be served.",
            f"It has: {', '.join(row.id for row in rows)}.",
        )
    chosen = tuple(row for row in rows if (row.id in served if served else row.enabled))
    if not chosen:
        raise CatalogueError(f"{path}: no row is enabled.", "Enable one, or name those to serve in UNMASK_MODELS.")
    return chosen


def describe(error: ValidationError) -> str:
    """Every problem of a strict schema in one line: the key's path, what was wrong."""
    problems = (
        f"{'.'.join(str(part) for part in problem['loc'])}: "
        + ("unknown key" if problem["type"] == "extra_forbidden" else problem["msg"])
        for problem in error.errors()
    )
    return "; ".join(problems) + "."


def load_detector(
    row: ModelRow, store: Store | None = None, device: str = "cpu", precision: Precision = "fp32"
) -> Detector:
    """Build a row's detector.

    Args:
        row: of the catalogue.
        store: where its files are; None for the default folder.
        device: `cpu`, `cuda` or `cuda:1`.
        precision: of forward passes.

    Raises:
        NotInstalled: a file is not on this machine.
        WeightsError: a file was altered or does not fit the architecture; the key is named.
        CatalogueError: an option of the row is none of the architecture's.
    """
    files = (store or Store()).files(row)
    recipe = Recipe(row.id, files, row.view.view(), row.labels, row.options, device, precision)
    architecture = importlib.import_module(f"models.detectors.{row.architecture}")
    detector: Detector = architecture.load(recipe)
    return detector
