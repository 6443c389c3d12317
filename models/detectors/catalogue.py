"""The catalogue: what detectors there are (configs/models.yaml), and building one from its row.

Reading it imports no torch, so the ingress can; only `load_detector` does.
"""

import difflib
import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.detectors.contract import Detector, Recipe
from models.detectors.store import ROOT, Store
from models.errors import CatalogueError, UnknownModel, WrongSelection
from models.types import Align, Class, Fit, Mode, Precision, Region, Resample, Spacing, View

CATALOGUE_FILE = ROOT / "configs" / "models.yaml"
ENSEMBLE, CASCADE = "ensemble", "cascade"  # names that clients use like a model's

ModelId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,63}$")]
FileName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]  # of a file below the model's folder: no path
Share01 = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ViewRow(_Strict):
    """A `View` as written in the catalogue."""

    region: Region
    size: Annotated[int, Field(ge=16, le=1_000_000)]
    fit: Fit = "squash"
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0
    count: Annotated[int, Field(ge=1, le=512)] = 16
    spacing: Spacing = "uniform"
    resample: Resample = "area"
    align: Align = "box"
    margin_px: Annotated[int, Field(ge=0, le=512)] = 0
    minimum: Annotated[int, Field(ge=1)] = 1
    hop: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fits_its_region(self) -> "ViewRow":
        fits = {"pad", "repeat"} if self.region == "audio" else {"squash", "crop", "pad", "centre"}
        if self.fit not in fits:
            raise ValueError(f"fit {self.fit} is none of region {self.region}, which has {', '.join(sorted(fits))}")
        if self.region != "face" and self.align != "box":
            raise ValueError(f"align {self.align} is for faces, not for region {self.region}")
        return self

    def view(self) -> View:
        """The view itself."""
        return View(**self.model_dump())


class FileRow(_Strict):
    """One file of a model: where it comes from, and what it must hash to.

    Exactly one of `bundled` (a file of `models/weights`), `url`, `huggingface` (with `revision` and `file`) and
    `path` (the operator's own, absolute, or `convert` puts it there when empty) says where from. `size_bytes` is held
    to; `about_bytes` is what its page rounds it to, for people.
    """

    bundled: str = ""
    url: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = ""
    huggingface: Annotated[str, Field(pattern=r"^([\w.-]+/[\w.-]+)?$")] = ""
    revision: str = ""
    file: str = ""
    path: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    size_bytes: Annotated[int, Field(ge=1)] | None = None
    about_bytes: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "FileRow":
        named = [name for name in ("bundled", "url", "huggingface") if getattr(self, name)]
        named += ["path"] if self.path is not None else []
        if len(named) != 1:
            raise ValueError(f"exactly one of bundled, url, huggingface and path is needed, not {len(named)}")
        if named[0] in {"bundled", "url"} and self.sha256 is None:
            raise ValueError(f"a {named[0]} file needs its sha256")
        if self.huggingface and not (self.revision and self.file):
            raise ValueError("a huggingface file needs its revision and its file")
        return self


class CalibrationRow(_Strict):
    """Platt scaling: `p_fake = sigmoid(scale * logit + bias)`."""

    scale: Annotated[float, Field(gt=0)] = 1.0
    bias: float = 0.0


class ShareRow(_Strict):
    """What one replica takes of a machine, and how many rows it encodes at once."""

    num_cpus: Annotated[float, Field(gt=0)] = 0.25
    num_gpus: Share01 = 0.0
    batch_frames: Annotated[int, Field(ge=1, le=4096)] = 64


class AssetRow(_Strict):
    """Something with files, a licence and a card: a detector, or a tool of the extractor."""

    id: ModelId
    revision: str
    architecture: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    summary: str
    licence: str
    usage: str
    card: str = ""
    files: Annotated[dict[FileName, FileRow], Field(min_length=1)]
    reported: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()

    @field_validator("files")
    @classmethod
    def _has_weights(cls, files: dict[str, FileRow]) -> dict[str, FileRow]:
        if "weights" not in files:
            raise ValueError("one of the files must be named weights")
        return files


class ModelRow(AssetRow):
    """One detector. What is not `fused` is reported in the ensemble with weight 0; asked for by name, it decides.

    `cost` is what one clip takes, in seconds of one CPU core: a cascade asks the cheapest first.
    """

    enabled: bool = True
    fused: bool = True
    view: ViewRow
    labels: tuple[Class, ...] = ()
    options: dict[str, Any] = {}
    calibration: CalibrationRow = CalibrationRow()
    weight: Annotated[float, Field(gt=0)] = 1.0
    cost: Annotated[float, Field(gt=0)] = 1.0
    share: ShareRow = ShareRow()

    @property
    def is_calibrated(self) -> bool:
        """Whether somebody measured what its logits are worth as probabilities."""
        return "calibration" in self.model_fields_set

    @field_validator("architecture")
    @classmethod
    def _is_built_here(cls, architecture: str) -> str:
        spec = importlib.util.find_spec(f"models.detectors.{architecture}")
        if spec is None or spec.origin is None:
            raise ValueError(f"there is no models/detectors/{architecture}.py")
        if "\ndef load(" not in Path(spec.origin).read_text("utf-8"):  # read, not imported: that would load torch
            raise ValueError(f"models/detectors/{architecture}.py is no architecture: it has no load(recipe)")
        return architecture


class _Bounds(_Strict):
    """Two probabilities, the lower one first."""

    real_below: Share01
    fake_above: Share01

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.real_below > self.fake_above:
            raise ValueError(f"real_below {self.real_below} is above fake_above {self.fake_above}")
        return self


class VerdictRow(_Bounds):
    """Between `real_below` and `fake_above` the answer is UNDETERMINED.

    Faces whose longer side is below `face_px` pixels of the upright picture are not judged.
    """

    real_below: Share01 = 0.45
    fake_above: Share01 = 0.55
    face_px: Annotated[int, Field(ge=0, le=4096)] = 48


class CascadeRow(_Bounds):
    """While the answer so far lies between the two, a cascade asks the next; `measured` says what they save."""

    real_below: Share01 = 0.05
    fake_above: Share01 = 0.95
    measured: str = ""


class _CatalogueFile(_Strict):
    verdict: VerdictRow = VerdictRow()
    cascade: CascadeRow = CascadeRow()
    models: Annotated[tuple[ModelRow, ...], Field(min_length=1)]
    tools: tuple[AssetRow, ...] = ()

    @model_validator(mode="after")
    def _goes_on_while_undetermined(self) -> Self:
        inner, outer = self.verdict, self.cascade
        if outer.real_below > inner.real_below or outer.fake_above < inner.fake_above:
            raise ValueError("cascade: its bounds lie inside those of the verdict: it would stop at UNDETERMINED")
        return self


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
        """The rows that answer: all for `ensemble` and `cascade`, one for its id, several for ids with commas between.

        Raises:
            UnknownModel: there is none of that name; those there are are named.
            WrongSelection: a list names one twice, or something that is no single model.
        """
        if mode_of(model) in {ENSEMBLE, CASCADE}:
            return self.rows
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
        content = _CatalogueFile.model_validate(yaml.safe_load(path.read_text("utf-8")))
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
