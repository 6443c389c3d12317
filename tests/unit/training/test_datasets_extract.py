import io
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from models.errors import CatalogueError, DecoderTimeout
from models.extraction import Extractor
from models.faces.find import FaceFinder
from models.faces.tools import FaceTools
from models.media.limits import Limits
from models.types import View
from tests.media import clip, sound_only, still, tone
from training.datasets.extract import as_cache, extracted, fill, main
from training.datasets.items import Item, Manifest
from training.datasets.ledger import FAILURES
from training.datasets.manifest import write_manifest

FACE = View("face", 32, margin=0.3, count=4)
FRAME = View("frame", 24, fit="pad", count=2)
SOUND = View("audio", 800, fit="pad", count=2)
EVERY = (FACE, FRAME, SOUND)


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(autouse=True)
def _one_finder(finder: FaceFinder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building it takes a second; each run would in this process."""
    monkeypatch.setattr(FaceTools, "finder", lambda _: finder)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Three sounds: what is decoded soonest."""
    for number in range(3):
        (tmp_path / f"{number}.wav").write_bytes(beep(0.1 + number / 100))
    items = (Item(tmp_path / f"{number}.wav", "real", f"voice{number}", "train", kind="audio") for number in range(3))
    return Manifest(tuple(items))


@pytest.fixture
def mixed(tmp_path: Path, portrait: NDArray[np.uint8]) -> Manifest:
    """A clip without a face, a portrait and a sound."""
    (tmp_path / "clip.mp4").write_bytes(clip(4))
    (tmp_path / "face.png").write_bytes(still(portrait[:256, 96:352], "png"))
    (tmp_path / "tone.wav").write_bytes(beep(0.2))
    return Manifest(
        (
            Item(tmp_path / "clip.mp4", "fake", "ann", "train"),
            Item(tmp_path / "face.png", "real", "ben", "train", kind="image"),
            Item(tmp_path / "tone.wav", "real", "cat", "val", kind="audio"),
        )
    )


def beep(seconds: float) -> bytes:
    return sound_only(tone(seconds), "wav", "pcm_s16le")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[View]]:
    """The views of every call of the extractor."""
    calls: list[Sequence[View]] = []
    really = Extractor.extract

    def counted(self: Extractor, media: NDArray[np.uint8], sha256: str, views: Sequence[View]) -> Any:
        calls.append(views)
        return really(self, media, sha256, views)

    monkeypatch.setattr(Extractor, "extract", counted)
    return calls


def quiet() -> Console:
    return Console(file=io.StringIO(), width=400)


def run(items: Manifest, cache: Path, views: Sequence[View] = (SOUND,), workers: int = 0) -> Any:
    return list(extracted(items, views, cache, workers, quiet()))


def failures(cache: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (cache / FAILURES).read_text().splitlines()]


def test_every_item_comes_with_its_views_in_the_order_of_the_manifest(mixed: Manifest, tmp_path: Path) -> None:
    found = run(mixed, tmp_path / "cache", EVERY)
    assert [item for item, _ in found] == list(mixed)
    assert [[len(views[view]) for view in EVERY] for _, views in found] == [[0, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_views_are_those_of_the_extractor(mixed: Manifest, tmp_path: Path) -> None:
    _, views = run(mixed, tmp_path / "cache", EVERY)[1]
    media = np.frombuffer((tmp_path / "face.png").read_bytes(), np.uint8)
    _, directly = Extractor(Limits()).extract(media, "00", EVERY)
    assert np.array_equal(views[FACE][0].data, directly[FACE][0].data)
    assert np.array_equal(views[FRAME][0].times_s, directly[FRAME][0].times_s)
    assert views[FACE][0].track == 0


def test_other_processes_extract_the_same(mixed: Manifest, tmp_path: Path) -> None:
    here, there = run(mixed, tmp_path / "a", EVERY, workers=0), run(mixed, tmp_path / "b", EVERY, workers=2)
    for (item, views), (same_item, same_views) in zip(here, there, strict=True):
        assert item == same_item
        for view in EVERY:
            assert [clip.data.tobytes() for clip in views[view]] == [clip.data.tobytes() for clip in same_views[view]]


def test_a_second_run_decodes_nothing(manifest: Manifest, tmp_path: Path, decoded: list[Sequence[View]]) -> None:
    run(manifest, tmp_path / "cache")
    assert len(decoded) == 3
    assert len(run(manifest, tmp_path / "cache")) == 3
    assert len(decoded) == 3


def test_a_second_run_reads_no_file(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(manifest, tmp_path / "cache")
    monkeypatch.setattr("training.datasets.worker.sha256_of", pytest.fail)
    assert len(run(manifest, tmp_path / "cache")) == 3


def test_a_run_that_was_interrupted_goes_on_where_it_was(
    manifest: Manifest, tmp_path: Path, decoded: list[Sequence[View]]
) -> None:
    run(Manifest(manifest.items[:1]), tmp_path / "cache")
    run(manifest, tmp_path / "cache")
    assert len(decoded) == 3


def test_another_view_is_extracted_alone(manifest: Manifest, tmp_path: Path, decoded: list[Sequence[View]]) -> None:
    longer = replace(SOUND, size=1_200)
    run(manifest, tmp_path / "cache", [SOUND])
    decoded.clear()
    run(manifest, tmp_path / "cache", [SOUND, longer])
    assert decoded == [(longer,)] * 3


def test_a_file_that_changed_is_extracted_anew(
    manifest: Manifest, tmp_path: Path, decoded: list[Sequence[View]]
) -> None:
    run(manifest, tmp_path / "cache")
    (tmp_path / "0.wav").write_bytes(beep(0.2))
    decoded.clear()
    run(manifest, tmp_path / "cache")
    assert len(decoded) == 1


def test_a_copy_of_a_file_is_not_decoded_again(
    manifest: Manifest, tmp_path: Path, decoded: list[Sequence[View]]
) -> None:
    run(manifest, tmp_path / "cache")
    (tmp_path / "copy.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    decoded.clear()
    assert len(run(Manifest((Item(tmp_path / "copy.wav", "fake", "ann"),)), tmp_path / "cache")) == 1
    assert decoded == []


def test_a_corrupt_file_is_written_down_with_its_code_and_passed_over(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "0.wav").write_bytes(beep(0.1)[:20])
    found = run(manifest, tmp_path / "cache")
    assert [item.path.name for item, _ in found] == ["1.wav", "2.wav"]
    (failure,) = failures(tmp_path / "cache")
    assert failure["path"] == str(tmp_path / "0.wav")
    assert failure["code"] == "corrupt_media"


def test_a_corrupt_file_is_not_tried_again(manifest: Manifest, tmp_path: Path, decoded: list[Sequence[View]]) -> None:
    (tmp_path / "0.wav").write_bytes(b"no media")
    run(manifest, tmp_path / "cache")
    decoded.clear()
    summary = fill(manifest, [SOUND], as_cache(tmp_path / "cache"), 0, quiet())
    assert decoded == []
    assert [failure.code for failure in summary.failures] == ["unsupported_media"]
    assert len(failures(tmp_path / "cache")) == 1


def test_a_file_that_is_not_there_is_tried_again_when_it_is(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "0.wav").rename(tmp_path / "away.wav")
    assert len(run(manifest, tmp_path / "cache")) == 2
    assert [failure["code"] for failure in failures(tmp_path / "cache")] == ["unreadable"]
    (tmp_path / "away.wav").rename(tmp_path / "0.wav")
    assert len(run(manifest, tmp_path / "cache")) == 3


@pytest.mark.parametrize(
    ("error", "code"), [(DecoderTimeout("too slow"), "decoder_timeout"), (ZeroDivisionError("x"), "unexpected")]
)
def test_no_error_of_one_file_ends_the_run(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    really = Extractor.extract

    def failing(self: Extractor, media: NDArray[np.uint8], sha256: str, views: Sequence[View]) -> Any:
        if media.nbytes == (tmp_path / "2.wav").stat().st_size:
            raise error
        return really(self, media, sha256, views)

    monkeypatch.setattr(Extractor, "extract", failing)
    assert len(run(manifest, tmp_path / "cache")) == 2
    assert [failure["code"] for failure in failures(tmp_path / "cache")] == [code]


def test_the_summary_counts_files_and_views_with_nothing_to_see(mixed: Manifest, tmp_path: Path) -> None:
    (tmp_path / "tone.wav").write_bytes(b"no media")
    cache = as_cache(tmp_path / "cache")
    fill(Manifest(mixed.items[:1]), [FRAME], cache, 0, quiet())
    lines = list(fill(mixed, [FRAME, SOUND], cache, 0, quiet()).lines())
    assert lines[0] == "2 files extracted, 0 were there, 1 failed"
    assert lines[1].startswith(f"  unsupported_media: 1, such as {tmp_path / 'tone.wav'}: The file is")
    assert lines[2:] == ["  views with nothing to see: 2, no sound"]
    assert next(fill(mixed, [FRAME], cache, 0, quiet()).lines()) == "0 files extracted, 2 were there, 1 failed"


def test_a_view_that_the_face_finder_cannot_give_is_refused_before_anything_is_done(
    manifest: Manifest, tmp_path: Path, decoded: list[Sequence[View]]
) -> None:
    with pytest.raises(CatalogueError, match="five_points"):
        run(manifest, tmp_path / "cache", [View("face", 32, align="five_points")])
    assert decoded == []


def test_the_command_extracts_what_a_detector_sees_and_tells_of_failures(
    mixed: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{item.path},{item.label}" for item in mixed]
    (tmp_path / "gone.mp4").write_bytes(b"no media")
    (tmp_path / "data.csv").write_text("\n".join(["path,label", *lines, "gone.mp4,fake"]))
    words = ["manifest", tmp_path / "data.csv", "--cache", tmp_path / "cache", "--workers", 0]
    monkeypatch.setattr(sys, "argv", ["extract", *map(str, words), "--model", "mobilenet-sbi-v1"])
    assert main() == 3
    told = capsys.readouterr().err
    assert "3 files extracted, 0 were there, 1 failed" in told
    assert FAILURES in told


def test_ctrl_c_ends_the_command_with_a_line(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Extractor, "extract", interrupted)
    write_manifest(manifest, tmp_path / "data.csv")
    words = ["manifest", tmp_path / "data.csv", "--cache", tmp_path / "cache", "--workers", 0]
    monkeypatch.setattr(sys, "argv", ["extract", *map(str, words)])
    assert main() == 130
    assert "the same command goes on" in capsys.readouterr().err
