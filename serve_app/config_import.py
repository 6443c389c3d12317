"""`configs/config.yaml` of a Drishtiksha server into rows of the catalogue and settings of this service."""

import copy
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.detectors.catalogue import describe
from models.detectors.rows import CatalogueFile, ModelId
from serve_app.terminal import Refused

# Which row of ours a class of that server becomes, by what its name holds.
CLASSES = (
    (re.compile(r"color_?cues", re.IGNORECASE), "color-cues-lstm"),
    (re.compile(r"lstm.*v4", re.IGNORECASE), "drishtiksha-siglip-lstm-v4"),
    (re.compile(r"lstm.*v3", re.IGNORECASE), "drishtiksha-siglip-lstm-v3"),
    (re.compile(r"lstm", re.IGNORECASE), "drishtiksha-siglip-lstm-v1"),
)
HEAD = "# Made by `unmask config import`: the catalogue of this version, and the models of {}.\n"
UNTRANSLATED = {
    "health_check_interval": "Ray Serve checks its replicas itself, every 10 s",
    "memory_threshold": "what a detector takes of a GPU is the row's share.num_gpus",
}


class _Theirs(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Model(_Theirs):
    """One of `models`, as that server's README and its code spell the keys."""

    class_name: str
    model_path: str
    device: str = "cpu"
    num_frames: Annotated[int, Field(ge=1)] | None = None
    frames_per_video: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    temporal_window: Annotated[int, Field(ge=1)] | None = None
    sequence_length: Annotated[int, Field(ge=1)] | None = None
    landmark_margin: Annotated[int, Field(ge=0)] | None = None
    dlib_model_path: str = ""
    mixed_precision: bool = False


class LoadBalancing(_Theirs):
    """`load_balancing`."""

    max_concurrent_requests: Annotated[int, Field(ge=1)] | None = None
    request_timeout: Annotated[float, Field(gt=0)] | None = None
    health_check_interval: float | None = None
    memory_threshold: float | None = None


class Theirs(_Theirs):
    """The file, as far as it is read."""

    models: Annotated[dict[ModelId, Model], Field(min_length=1)]
    load_balancing: LoadBalancing = LoadBalancing()


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file.

    Attributes:
        catalogue: the content of a catalogue file.
        settings: lines of `.env`; `UNMASK_CATALOGUE` is not among them.
        commands: what brings the checkpoints in.
        notes: what has no counterpart, and what to know.
    """

    catalogue: str
    settings: tuple[str, ...]
    commands: tuple[str, ...]
    notes: tuple[str, ...]


def imported(file: Path, base: Path) -> Imported:
    """Convert a server's file.

    Args:
        file: its `configs/config.yaml`.
        base: the catalogue whose rows are taken over, and made into theirs.

    Raises:
        Refused: it cannot be read, is of another kind, or names no model that there is an architecture for.
    """
    theirs = _read(file)
    ours: dict[str, Any] = yaml.safe_load(base.read_text("utf-8"))
    rows = {row["id"]: row for row in ours["models"]}
    taken = {name: row for name, model in theirs.models.items() if (row := _row(name, model, rows))}
    if not taken:
        known = "classes whose name holds ColorCues or LSTM"
        raise Refused(f"{file} has no model that can be taken over.", f"Known are {known}.")
    ours["models"] = [row for name, row in rows.items() if name not in taken] + list(taken.values())
    _check(ours, file)
    content = yaml.safe_dump(ours, sort_keys=False, allow_unicode=True, width=120)
    models = {name: theirs.models[name] for name in taken}
    folder = file.absolute().parent.parent  # their paths are relative to it: it holds `configs/`
    return Imported(
        HEAD.format(file.name) + content,
        tuple(_settings(theirs, models, folder)),
        tuple(_commands(models, taken, folder)),
        tuple(_notes(theirs, taken, rows)),
    )


def _read(file: Path) -> Theirs:
    try:
        return Theirs.model_validate(yaml.safe_load(file.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refused(f"{file} cannot be read as YAML: {error}.") from error
    except ValidationError as error:
        raise Refused(f"{file} is no configuration of a Drishtiksha server: {describe(error)}") from error


def _row(name: str, model: Model, rows: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The row of the same class, under their id and with their figures; None for a class that is not known."""
    like = next((row for pattern, row in CLASSES if pattern.search(model.class_name)), None)
    if like is None or like not in rows:
        return None
    row = copy.deepcopy(rows[like])
    row |= {"id": name, "enabled": True, "files": {"weights": {"path": ""}}}
    view, share, options = row["view"], row.setdefault("share", {}), row.setdefault("options", {})
    window = model.temporal_window or model.sequence_length
    _set(view, "count", model.num_frames or model.frames_per_video)
    _set(share, "batch_frames", model.batch_size)
    if row["architecture"] == "color_cues_lstm":
        _set(view, "margin_px", model.landmark_margin)
        _set(view, "minimum", window)
        _set(options, "window", window)
    elif model.num_frames:
        view["minimum"] = min(view["minimum"], model.num_frames)
        options["window_frames"] = min(options["window_frames"], model.num_frames)
    return row


def _set(where: dict[str, Any], name: str, value: int | None) -> None:
    if value is not None:
        where[name] = value


def _check(ours: dict[str, Any], file: Path) -> None:
    try:
        CatalogueFile.model_validate(ours)
    except ValidationError as error:
        raise Refused(f"{file} makes no catalogue: {describe(error)}") from error


def _settings(theirs: Theirs, models: dict[str, Model], folder: Path) -> Iterator[str]:
    yield f"UNMASK_MODELS={','.join(models)}"
    balancing = theirs.load_balancing
    if balancing.max_concurrent_requests:
        yield f"UNMASK_MAX_CONCURRENT_REQUESTS={balancing.max_concurrent_requests}"
    if balancing.request_timeout:
        yield f"UNMASK_REQUEST_TIMEOUT_S={balancing.request_timeout:g}"
    if any(model.mixed_precision and _on_gpu(model) for model in models.values()):
        yield "UNMASK_PRECISION=fp16"
    if landmarks := next((model.dlib_model_path for model in models.values() if model.dlib_model_path), ""):
        yield f"UNMASK_LANDMARKS={folder / landmarks}"


def _commands(models: dict[str, Model], rows: dict[str, Any], folder: Path) -> Iterator[str]:
    for name, model in models.items():
        path, architecture = shlex.quote(str(folder / model.model_path)), rows[name]["architecture"]
        yield f"unmask models convert {path} --as {architecture} --id {name}"
    if any(_on_gpu(model) for model in models.values()):
        yield "unmask up --profile configs/serve/gpu.yaml"


def _notes(theirs: Theirs, taken: dict[str, Any], rows: dict[str, Any]) -> Iterator[str]:
    for name, model in theirs.models.items():
        if name not in taken:
            yield f"{name} was left out: there is no architecture here for the class {model.class_name}"
        elif name in rows:
            yield f"{name} is now your checkpoint; the model of that name that Unmask brings is not in this catalogue"
    for name, why in UNTRANSLATED.items():
        if getattr(theirs.load_balancing, name) is not None:
            yield f"load_balancing.{name} has no counterpart: {why}"
    paths = [model.model_path for name, model in theirs.models.items() if name in taken]
    if twice := sorted({path for path in paths if paths.count(path) > 1}):
        yield f"several models name the same file, {', '.join(twice)}: together they are one vote counted twice"
    yield "checkpoints are not calibrated: `unmask calibrate` fits them to files whose truth you know"


def _on_gpu(model: Model) -> bool:
    return model.device.startswith("cuda")
