"""Serve's configuration files, checked strictly: Ray drops keys it does not know without a word."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import (
    DeploymentSchema,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from models.errors import UnmaskError


class ProfileError(UnmaskError):
    """A Serve configuration file is wrong; the keys are named."""

    code = "profile_error"


class BuildArgs(BaseModel):
    """`applications[].args` of a profile.

    Attributes:
        profile: path of the file itself, absolute or relative to the project, so that the builder can check it whole.
        device: `cpu`, or `cuda` to give each detector its GPU share from the catalogue.
    """

    model_config = ConfigDict(extra="forbid")

    profile: str
    device: Literal["cpu", "cuda"] = "cpu"


# Parts that Ray's schemas type as plain dicts.
_PARTS: dict[tuple[type[BaseModel], str], type[BaseModel]] = {
    (DeploymentSchema, "autoscaling_config"): AutoscalingConfig,
    (DeploymentSchema, "ray_actor_options"): RayActorOptionsSchema,
    (ServeDeploySchema, "applications"): ServeApplicationSchema,
    (ServeApplicationSchema, "deployments"): DeploymentSchema,
    (ServeApplicationSchema, "args"): BuildArgs,
}


def check_profile(path: Path) -> dict[str, Any]:
    """Read a profile; raises `ProfileError` naming every key that Ray would silently ignore."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise ProfileError(f"{path} is not YAML: {error}.") from error
    if not isinstance(content, dict):
        raise ProfileError(f"{path} is not a Serve configuration: no keys at its top level.")
    if unknown := list(unknown_keys(content, ServeDeploySchema)):
        raise ProfileError(f"{path}: unknown keys: {', '.join(unknown)}.")
    return content


def unknown_keys(content: Any, schema: type[BaseModel], path: str = "") -> Iterator[str]:
    """Paths of the keys of nested content that a schema does not have, such as `applications.0.nmae`."""
    if isinstance(content, list):
        for i, item in enumerate(content):
            yield from unknown_keys(item, schema, f"{path}{i}.")
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        if key not in schema.model_fields:
            yield f"{path}{key}"
        elif part := _PARTS.get((schema, key)) or _model_in(schema.model_fields[key].annotation):
            yield from unknown_keys(value, part, f"{path}{key}.")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model inside an annotation such as `Optional[List[Model]]`, if there is one."""
    if get_origin(annotation) in {Union, UnionType, list}:
        return next(filter(None, (_model_in(part) for part in get_args(annotation))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
