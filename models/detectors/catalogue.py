"""The catalogue: what detectors there are (configs/models.yaml), and building one from its row.

Reading it imports no torch, so the ingress can; only `load_detector` does.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.detectors.contract import Detector
from models.detectors.weights import verified
from models.errors import CatalogueError, UnknownModel
from models.types import Fit, Region, Spacing, View

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE_FILE = ROOT / "configs" / "models.yaml"
ENSEMBLE = "ensemble"

ModelId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,63}$")]
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

    def view(self) -> View:
        """The view itself."""
        return View(**self.model_dump())


class WeightsRow(_Strict):
    """Where the weights are: a file of `models/weights`, or an operator's absolute path; and what they must hash to."""

    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CalibrationRow(_Strict):
    """Platt scaling: `p_fake = sigmoid(scale * logit + bias)`."""

    scale: Annotated[float, Field(gt=0)] = 1.0
    bias: float = 0.0


class ShareRow(_Strict):
    """What one replica takes of a machine, and how many rows it encodes at once."""

    num_cpus: Annotated[float, Field(gt=0)] = 0.25
    num_gpus: Share01 = 0.0
    batch_frames: Annotated[int, Field(ge=1, le=4096)] = 64


class ModelRow(_Strict):
    """One detector."""

    id: ModelId
    revision: str
    enabled: bool = True
    architecture: Literal["mobilenet_sbi"]
    summary: str
    licence: str
    card: str = ""
    weights: WeightsRow
    view: ViewRow
    calibration: CalibrationRow = CalibrationRow()
    weight: Annotated[float, Field(gt=0)] = 1.0
    share: ShareRow = ShareRow()
    measured: tuple[str, ...] = ()


class VerdictRow(_Strict):
    """Between `real_below` and `fake_above` the answer is UNDETERMINED."""

    real_below: Share01 = 0.45
    fake_above: Share01 = 0.55

    @model_validator(mode="after")
    def _ordered(self) -> "VerdictRow":
        if self.real_below > self.fake_above:
            raise ValueError(f"real_below {self.real_below} is above fake_above {self.fake_above}")
        return self


class _CatalogueFile(_Strict):
    verdict: VerdictRow = VerdictRow()
    models: Annotated[tuple[ModelRow, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The rows that are enabled, in the file's order, and the bounds of the verdict."""

    rows: tuple[ModelRow, ...]
    verdict: VerdictRow

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the enabled detectors."""
        return tuple(row.id for row in self.rows)

    def row(self, model: str) -> ModelRow:
        """The row of that id; raises `UnknownModel` naming those there are."""
        for row in self.rows:
            if row.id == model:
                return row
        raise UnknownModel(f"there is no model {model!r}.", f"Available: {', '.join((ENSEMBLE, *self.ids))}.")

    def choose(self, model: str) -> tuple[ModelRow, ...]:
        """The rows that answer for a model's name: one detector, or all of them for `ensemble`."""
        return self.rows if model == ENSEMBLE else (self.row(model),)


def read_catalogue(path: Path = CATALOGUE_FILE) -> Catalogue:
    """Read and check a catalogue file; raises `CatalogueError` naming every wrong key."""
    try:
        content = _CatalogueFile.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path} is not YAML: {error}.") from error
    except ValidationError as error:
        raise CatalogueError(f"{path}: {describe(error)}") from error
    ids = [row.id for row in content.models]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise CatalogueError(f"{path}: more than one row has the id {', '.join(twice)}.")
    enabled = tuple(row for row in content.models if row.enabled)
    if not enabled:
        raise CatalogueError(f"{path}: no row is enabled.")
    return Catalogue(enabled, content.verdict)


def describe(error: ValidationError) -> str:
    """Every problem of a strict schema in one line: the key's path, what was wrong."""
    problems = (
        f"{'.'.join(str(part) for part in problem['loc'])}: "
        + ("unknown key" if problem["type"] == "extra_forbidden" else problem["msg"])
        for problem in error.errors()
    )
    return "; ".join(problems) + "."


def weights_path(row: ModelRow) -> Path:
    """The row's weights, checked; raises `WeightsError` if they are missing or altered."""
    return verified(ROOT / "models" / "weights" / row.weights.file, row.weights.sha256)


def load_detector(row: ModelRow, device: str) -> Detector:
    """Build a row's detector on a torch device; raises `WeightsError` if its weights are missing or do not fit."""
    path = weights_path(row)
    architecture = importlib.import_module(f"models.detectors.{row.architecture}")
    detector: Detector = architecture.load(path, row.view.view(), device)
    return detector
