"""What a catalogue file may say (configs/models.yaml), checked strictly: an unknown key is an error."""

import importlib.util
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.types import Align, Class, Fit, Region, Resample, Spacing, View

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

    What is `by_name_only` is served, and has no part in the ensemble at all, unless nothing else is served.
    `cost` is what one clip takes, in seconds of one CPU core: a cascade asks the cheapest first.
    """

    enabled: bool = True
    fused: bool = True
    by_name_only: bool = False
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


class CatalogueFile(_Strict):
    """All of the file."""

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
