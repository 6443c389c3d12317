"""The pictures inside a verdict (thumbnails of faces, saliency maps): kept as one artefact beside the row.

They are nine tenths of an answer's bytes, and are wanted only by who looks at one analysis.
"""

import json
from collections.abc import Iterator
from typing import Any

from serve_app.artifacts import Artifacts, NoSuchArtifact


def name_of(analysis_id: str) -> str:
    """What the pictures of an analysis are called in the artefact store."""
    return f"pictures/{analysis_id}.json"


async def keep(artifacts: Artifacts, name: str, body: dict[str, Any]) -> bool:
    """Move the pictures of a `VerdictBody`, as JSON, into the store; whether there were any.

    Raises:
        StorageUnavailable, StorageFull: they are still in the body.
    """
    pictures = [holder[key] for holder, key in _places(body)]
    if not any(pictures):
        return False
    await artifacts.put(name, json.dumps(pictures).encode(), "application/json")
    for holder, key in _places(body):
        holder[key] = ""
    return True


async def put_back(artifacts: Artifacts, name: str, body: dict[str, Any]) -> bool:
    """Put the pictures back into a body; whether they are still there. Raises `StorageUnavailable`."""
    try:
        pictures = json.loads(await artifacts.read(name))
    except NoSuchArtifact:
        return False
    for (holder, key), picture in zip(_places(body), pictures, strict=True):
        holder[key] = picture
    return True


def _places(body: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Where pictures stand, in an order that depends on the body alone."""
    yield from ((face, "thumbnail") for face in body["faces"])
    yield from ((seen, key) for seen in body["evidence"]["maps"] for key in ("heatmap", "crop"))
