"""The JSON files of a Hugging Face repository. They only describe: nothing they name is run or fetched."""

import json
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING
from transformers.initialization import no_init_weights

from models.errors import WeightsError


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file of a repository; raises `WeightsError` if it is none, or names what is not in the file."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no JSON object.")
    for part in _objects(content):
        if "auto_map" in part:
            raise WeightsError(f"{path} has auto_map: it needs code of its repository.", "Such code is never run here.")
        if part.get("backbone"):  # the name of another repository, which transformers would ask the hub for
            raise WeightsError(f"{path} names the backbone {part['backbone']!r}.", "Nothing is fetched while serving.")
    return content


def _objects(content: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON file, at any depth."""
    if isinstance(content, dict):
        yield content
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _objects(part)


def vision_part(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The picture half of a CLIP's or SigLIP's configuration, or all of it if it has no halves."""
    part = content.get("vision_config", content)
    if not isinstance(part, dict):
        raise WeightsError(f"{path} has a vision_config that is no JSON object.")
    return part


def read_config(path: Path, kinds: Container[str], accepted: str) -> Any:
    """The transformers configuration in a config.json.

    Args:
        path: of the file.
        kinds: values of `model_type` that will do.
        accepted: the same in words, for the error.

    Raises:
        WeightsError: it is none, of another kind, or not valid.
    """
    content = read_json(path)
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in kinds:
        raise WeightsError(f"{path}: model_type is {kind!r}.", f"It must be {accepted}.")
    return configured(CONFIG_MAPPING[kind], content, path)


def configured(config: Any, content: Mapping[str, Any], path: Path) -> Any:
    """An instance of a transformers configuration class; raises `WeightsError` if the content is not valid for it."""
    # An attention implementation can be a kernel that transformers would download and run.
    own = {key: value for key, value in content.items() if not key.endswith("attn_implementation")}
    try:
        return config.from_dict(own)
    except Exception as error:  # transformers validates with errors of several families
        raise WeightsError(f"{path} is no configuration of {config.model_type}: {error}.") from error


def built(auto: Any, config: Any, path: Path) -> Any:
    """The network that one of transformers' `AutoModelFor...` builds from a configuration; it has no weights yet.

    Raises:
        WeightsError: it cannot; `path` is where the configuration is from.
    """
    try:
        with no_init_weights():  # seconds of drawing numbers that `fill` then replaces, every one
            return auto.from_config(config, dtype=torch.float32)
    except Exception as error:  # an unknown activation is a KeyError, a bad size anything
        raise WeightsError(f"{path}: transformers cannot build this {config.model_type}: {error}.") from error
