"""The deployment of one detector. Bound once per enabled row of the catalogue."""

import asyncio
import os
from dataclasses import dataclass, replace

import numpy as np
import ray
from numpy.typing import NDArray
from ray import serve

from models.detectors.catalogue import ModelRow
from models.detectors.contract import Rows
from models.detectors.store import Store
from models.explain.heat import heat_clips
from models.explain.maps import explain_clips
from models.explain.subject import Moments
from models.types import Clip, ClipScore, Heat, Precision, SaliencyMap

BATCH_WAIT_S = 0.004  # a fraction of a forward pass: enough for requests that arrive together to share one
MAX_THREADS = 4  # small convolutions gain little from more


@dataclass(frozen=True, slots=True)
class Scored:
    """A detector's answer: one score per clip, and where it was computed."""

    scores: tuple[ClipScore, ...]
    device: str
    gpu_memory_bytes: int


class Detector:
    """Scores clips with one detector; encodes rows of several requests in one forward pass."""

    def __init__(self, row: ModelRow, store: Store, device: str, precision: Precision, threads: int) -> None:
        import torch  # noqa: PLC0415 - the graph is drawn in processes that need no torch

        from models.detectors.catalogue import load_detector  # noqa: PLC0415

        torch.set_num_threads(threads or min(MAX_THREADS, len(os.sched_getaffinity(0))))
        if device == "cuda":
            # Ray's GPU fractions are bookkeeping only; this makes the share a limit.
            share = ray.get_runtime_context().get_assigned_resources().get("GPU", 1.0)  # type: ignore[no-untyped-call]
            torch.cuda.set_per_process_memory_fraction(min(1.0, share))
        self._torch = torch
        self._device = device
        self._model = row.id
        self._rows_per_pass = row.share.batch_frames
        self._detector = load_detector(row, store, device, precision)
        self._encode.set_max_batch_size(row.share.batch_frames)  # type: ignore[attr-defined]

    async def score(self, clips: tuple[Clip, ...]) -> Scored:
        """Score each clip; the clips arrive by reference and are read in place."""
        scores = await asyncio.gather(*(self._score(clip) for clip in clips))
        return Scored(tuple(scores), self._device_name(), self._gpu_memory_bytes())

    async def explain(self, clips: tuple[Clip, ...], wanted: tuple[Moments, ...]) -> tuple[SaliencyMap, ...]:
        """Saliency maps of clips, which arrive by reference as for `score`; small pictures come back."""
        return await asyncio.to_thread(
            explain_clips, self._detector, self._model, clips=clips, wanted=wanted, rows_per_pass=self._rows_per_pass
        )

    async def heat(self, clips: tuple[Clip, ...], tracks: tuple[int, ...]) -> tuple[Heat, ...]:
        """Maps over time of faces, for drawing; the clips arrive by reference."""
        return await asyncio.to_thread(heat_clips, self._detector, clips, tracks)

    async def _score(self, clip: Clip) -> ClipScore:
        size = self._rows_per_pass
        parts = [clip.data[start : start + size] for start in range(0, len(clip.data), size)]
        features = np.concatenate(await asyncio.gather(*(self._encode(part) for part in parts)))
        score = await asyncio.to_thread(self._detector.decide, features, clip.times_s)
        return replace(score, track=clip.track)

    @serve.batch(batch_wait_timeout_s=BATCH_WAIT_S, batch_size_fn=lambda parts: sum(map(len, parts)))
    async def _encode(self, parts: list[Rows]) -> list[NDArray[np.float32]]:
        """Encode rows of several requests at once; off the event loop, so that health checks are answered."""
        rows: Rows = np.concatenate(parts)  # type: ignore[assignment]  # a detector's rows are all of one type
        features = await asyncio.to_thread(self._detector.encode, rows)
        ends = np.cumsum([len(part) for part in parts])[:-1]
        return list(np.split(features, ends))

    def _device_name(self) -> str:
        return self._torch.cuda.get_device_name() if self._device == "cuda" else self._device

    def _gpu_memory_bytes(self) -> int:
        return self._torch.cuda.max_memory_reserved() if self._device == "cuda" else 0
