"""`unmask models convert`: a file that the operator holds, into the store or beside itself."""

from pathlib import Path

from rich.text import Text

from models.detectors.catalogue import AssetRow, Catalogue, ModelRow
from models.detectors.contract import Recipe
from models.detectors.convert import Converted, architecture_of, convert, suffix_for
from models.detectors.weights import sha256_of
from models.errors import CatalogueError, NotInstalled, WeightsError
from models.types import View
from serve_app.terminal import Refused, err, out


def into_store(catalogue: Catalogue, row: AssetRow, file: Path, architecture: str, name: str) -> None:
    """Convert into the store, as a file of a model."""
    store, given = catalogue.store, sha256_of(file)
    if row.architecture != architecture:
        raise Refused(f"{row.id} is of the architecture {row.architecture}, not {architecture}.")
    _may_take(row, name, given)
    with store.locked(row) as home:
        new = home / f".{name}{suffix_for(file)}"
        try:
            converted = convert(file, new)
            unchecked = _misfit(catalogue, row, architecture, file, {name: new})
            entry = store.install(row, name, new, given)
        finally:
            new.unlink(missing_ok=True)
    _tell(converted, home / entry.file, entry.sha256, unchecked)
    served = "It is served already." if row.id in catalogue.ids else "UNMASK_MODELS says what is served."
    missing = "" if store.is_installed(row) else f" Its other files: `unmask models pull {row.id}`."
    err.print(Text(f"Installed as {row.id}. {served}{missing}"), soft_wrap=True)


def _may_take(row: AssetRow, name: str, given: str) -> None:
    """Whether a file that was handed in may become a file of that row."""
    if name not in row.files:
        raise Refused(f"{row.id} has no file {name!r}.", f"It has: {', '.join(row.files)}.")
    wanted = row.files[name]
    if wanted.bundled or wanted.path:
        raise Refused(f"{row.id} names its own file {wanted.bundled or wanted.path}.", "Use --output without --id.")
    if wanted.sha256 not in {None, given}:
        raise WeightsError(f"the file is not the {name} of {row.id}: its sha256 is {given}, not {wanted.sha256}.")
    if wanted.sha256 is None and wanted.path is None:
        raise Refused(f"nothing pins the {name} of {row.id}.", f"`unmask models pull {row.id}` brings it.")


def into_file(catalogue: Catalogue, file: Path, architecture: str, output: Path | None) -> None:
    """Convert into a file of its own, for a row that the operator writes."""
    target = output or file.with_suffix(suffix_for(file))
    if target.exists():
        raise Refused(f"{target} is there already.", "Name another with --output.")
    temporary = target.with_name(f".{target.name}")
    like = next((row for row in catalogue.every if row.architecture == architecture), None)
    try:
        converted = convert(file, temporary)
        unchecked = _misfit(catalogue, like, architecture, file, {"weights": temporary})
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    sha256 = sha256_of(target)
    _tell(converted, target, sha256, unchecked)
    row = f"    files:\n      weights:\n        path: {target.resolve()}\n        sha256: {sha256}"
    err.print(Text(f"For a row of your own in the catalogue:\n{row}"), soft_wrap=True)


def _misfit(catalogue: Catalogue, row: AssetRow | None, architecture: str, given: Path, files: dict[str, Path]) -> str:
    """Build the detector from the files; why that could not be tried.

    Raises `WeightsError` if they do not fit; it names the file that was given, not what became of it for the moment.
    """
    if row is not None and not isinstance(row, ModelRow):
        return "it is a tool, no detector"
    load = architecture_of(architecture)
    try:
        others = {name: catalogue.store.file(row, name) for name in row.files if name not in files} if row else {}
        load(_recipe(row, {**others, **files}))
    except NotInstalled as error:
        return str(error)
    except CatalogueError as error:
        if row is not None:
            raise
        return f"no row of the catalogue says how {architecture} is used. {error}"
    except WeightsError as error:
        detail = error.detail
        for file in files.values():
            detail = detail.replace(str(file), str(given))
        raise WeightsError(detail, error.accepted) from error
    return ""


def _recipe(row: ModelRow | None, files: dict[str, Path]) -> Recipe:
    if row is None:
        return Recipe("converted", files, View("frame", 224))
    return Recipe(row.id, files, row.view.view(), row.labels, row.options)


def _tell(converted: Converted, path: Path, sha256: str, unchecked: str) -> None:
    """What became of a file: the result on standard output, the rest beside it."""
    if converted.dropped:
        err.print(Text(f"left out: {', '.join(converted.dropped)}"), soft_wrap=True)
    fits = f"not checked: {unchecked}" if unchecked else "loads strictly: every key and shape fits"
    err.print(Text(f"{len(converted.keys)} tensors; {fits}" if converted.keys else f"copied; {fits}"), soft_wrap=True)
    out.print(Text(f"{path}  {path.stat().st_size} bytes  sha256 {sha256}"), soft_wrap=True)
