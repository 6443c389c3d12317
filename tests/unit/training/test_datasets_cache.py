import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.faces.tools import FaceTools
from models.media.limits import Limits
from models.types import Clip, View
from training.datasets.cache import STALE_S, ViewCache

FACE = View("face", 32, count=4)
SHA = "ab" * 32
CLIPS = (
    Clip(np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), np.array([0.0, 0.5]), 3),
    Clip(np.zeros((1, 2, 2, 3), np.uint8), np.array([0.25])),
)


def cache_at(folder: Path, tools: FaceTools | None = None, limits: Limits | None = None) -> ViewCache:
    return ViewCache(folder, tools or FaceTools(), limits or Limits())


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    cache.save(SHA, FACE, CLIPS, "")
    for loaded, saved in zip(cache.load(SHA, FACE), CLIPS, strict=True):
        assert loaded.track == saved.track
        assert loaded.data.dtype == saved.data.dtype
        assert np.array_equal(loaded.data, saved.data)
        assert np.array_equal(loaded.times_s, saved.times_s)


def test_a_view_without_clips_keeps_its_reason(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    cache.save(SHA, FACE, (), "no face: none was found")
    assert cache.load(SHA, FACE) == ()
    assert cache.why_empty(SHA, FACE) == "no face: none was found"


@pytest.mark.parametrize(
    "view",
    [
        View("frame", 32, count=4),
        replace(FACE, size=48),
        replace(FACE, margin=0.1),
        replace(FACE, count=5),
        replace(FACE, resample="bicubic"),
        replace(FACE, align="landmarks"),
        replace(FACE, minimum=2),
    ],
)
def test_another_view_is_another_entry(tmp_path: Path, view: View) -> None:
    cache = cache_at(tmp_path)
    assert cache.path(SHA, view) != cache.path(SHA, FACE)


def test_another_file_is_another_entry(tmp_path: Path) -> None:
    assert cache_at(tmp_path).path("cd" * 32, FACE) != cache_at(tmp_path).path(SHA, FACE)


def test_another_version_of_the_code_is_another_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache_at(tmp_path).path(SHA, FACE)
    monkeypatch.setattr("training.datasets.cache.EXTRACTION_VERSION", 999)
    assert cache_at(tmp_path).path(SHA, FACE) != before


def test_another_face_finder_is_another_entry(tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(b"weights")
    other = cache_at(tmp_path, FaceTools(yunet=tmp_path / "yunet.onnx"))
    assert other.path(SHA, FACE) != cache_at(tmp_path).path(SHA, FACE)


def test_pictures_of_another_size_are_another_entry_and_more_patience_is_not(tmp_path: Path) -> None:
    plain = cache_at(tmp_path).path(SHA, FACE)
    assert cache_at(tmp_path, limits=Limits(working_side=640)).path(SHA, FACE) != plain
    assert cache_at(tmp_path, limits=Limits(wall_s=900)).path(SHA, FACE) == plain


def test_writing_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(file: object, **_arrays: object) -> None:
        file.write(b"PK half an entry")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy.savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache_at(tmp_path).save(SHA, FACE, CLIPS, "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_a_killed_run_left_half_written_is_swept_and_what_another_run_writes_is_not(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    old, new = tmp_path / "ab" / "old.1.part", tmp_path / "ab" / "new.2.part"
    for part in (old, new):
        part.touch()
    os.utime(old, (old.stat().st_mtime - 2 * STALE_S,) * 2)
    cache_at(tmp_path).sweep()
    assert list((tmp_path / "ab").iterdir()) == [new]
