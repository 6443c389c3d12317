import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.detectors.catalogue import AssetRow, FileRow
from models.detectors.store import ROOT, Store, how_to_install, source_of
from models.errors import NotInstalled, WeightsError

PIN = hashlib.sha256(b"published").hexdigest()
URL = {"url": "https://example.org/a.pth", "sha256": PIN}
HUB = {"huggingface": "org/model", "revision": "main", "file": "model.safetensors"}


def asset(name: str = "toy", **files: dict[str, Any]) -> AssetRow:
    fields = {"id": name, "revision": "1", "architecture": "toy_net", "summary": "", "licence": "MIT", "usage": ""}
    return AssetRow.model_validate({**fields, "files": files})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put(store: Store, row: AssetRow, content: bytes = b"published", name: str = "weights", source: str = PIN) -> Path:
    with store.locked(row) as home:
        new = home / ".new.safetensors"
        new.write_bytes(content)
        return home / store.install(row, name, new, source).file


def test_nothing_is_installed_in_a_folder_that_is_not_there(store: Store) -> None:
    assert not store.is_installed(asset(weights=URL))
    assert not store.folder.exists()


def test_an_installed_file_is_found_under_its_name_in_the_catalogue(store: Store) -> None:
    row = asset(weights=URL)
    path = put(store, row)
    assert path.name == "weights.safetensors"
    assert store.is_installed(row)
    assert store.files(row) == {"weights": path}


def test_a_converted_file_is_held_to_its_own_hash(store: Store) -> None:
    row = asset(weights=URL)
    path = put(store, row, b"converted")
    assert store.files(row) == {"weights": path}
    path.write_bytes(b"converteD")
    with pytest.raises(WeightsError, match="were altered"):
        store.files(row)


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"weights": URL}, "`unmask models pull toy`"),
        ({"weights": {"path": ""}}, "`unmask models convert FILE --as toy_net --id toy`"),
        ({"weights": {"path": "/nowhere/w.safetensors", "sha256": PIN}}, "put it there"),
    ],
)
def test_a_missing_file_names_what_brings_it(store: Store, files: dict[str, Any], command: str) -> None:
    with pytest.raises(NotInstalled, match=command):
        store.files(asset(**files))


def test_a_model_with_files_of_both_kinds_names_both_commands_once() -> None:
    said = how_to_install(asset(weights={"path": ""}, encoder=URL, config=URL))
    assert said == "`unmask models convert FILE --as toy_net --id toy`. `unmask models pull toy`."


def test_a_missing_second_file_is_named_in_its_command(store: Store) -> None:
    row = asset(weights={"path": ""}, landmarks={"path": ""})
    put(store, row)
    with pytest.raises(NotInstalled, match="--id toy --file landmarks`"):
        store.files(row)


def test_a_file_without_a_record_does_not_count(store: Store) -> None:
    row = asset(weights=URL)
    path = put(store, row)
    (path.parent / "installed.json").unlink()
    with pytest.raises(NotInstalled):
        store.files(row)


@pytest.mark.parametrize("now", [{**URL, "sha256": "0" * 64}, {**URL, "url": "https://example.org/b.pth"}, HUB])
def test_what_was_installed_for_another_revision_of_the_row_does_not_count(store: Store, now: dict[str, Any]) -> None:
    put(store, asset(weights=URL))
    row = asset(weights=now)
    assert not store.is_installed(row)
    with pytest.raises(NotInstalled, match="pull toy"):
        store.files(row)


def test_an_operators_own_file_needs_a_hash_in_the_catalogue(store: Store, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"published")
    assert store.files(asset(weights={"path": str(own), "sha256": PIN})) == {"weights": own}
    with pytest.raises(WeightsError, match=f"nothing says .* It hashes to {PIN}"):
        store.files(asset(weights={"path": str(own)}))


def test_a_damaged_record_is_named(store: Store) -> None:
    row = asset(weights=URL)
    record = put(store, row).with_name("installed.json")
    for content in ("{", "[]", '{"files": {"weights": {"fil": 1}}}', "null"):
        record.write_text(content)
        with pytest.raises(WeightsError, match=r"installed\.json cannot be read"):
            store.files(row)


def test_problems_are_told_apart(store: Store) -> None:
    row = asset(weights=URL, config=URL, vocabulary=URL)
    put(store, row)
    put(store, row, name="config").write_bytes(b"altered")
    found = store.problems(row)
    assert found["weights"] is None
    assert type(found["config"]) is WeightsError
    assert type(found["vocabulary"]) is NotInstalled


def test_a_link_takes_no_room_and_removing_one_leaves_the_other(store: Store) -> None:
    first, second = asset("first", weights=HUB), asset("second", weights=HUB)
    put(store, first)
    with store.locked(second):
        assert store.link(second, "weights", PIN) is not None
    assert store.file(first, "weights").samefile(store.file(second, "weights"))
    freed = store.remove(first)
    assert freed == 0 + record_bytes(second, store)
    assert store.file(second, "weights").read_bytes() == b"published"


def record_bytes(row: AssetRow, store: Store) -> int:
    """The only room that a linked model takes; first and second have records of the same length."""
    return (store.home(row) / "installed.json").stat().st_size


def test_where_links_are_impossible_the_file_is_copied(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    first, second = asset("first", weights=HUB), asset("second", weights=HUB)
    put(store, first)
    with store.locked(second):
        store.link(second, "weights", PIN)
    assert store.file(second, "weights").read_bytes() == b"published"
    assert not store.file(first, "weights").samefile(store.file(second, "weights"))


def test_remove_frees_the_files(store: Store) -> None:
    row = asset(weights=URL)
    put(store, row, b"x" * 5000)
    assert store.remove(row) >= 5000
    assert not store.home(row).exists()


def test_a_model_is_locked_for_other_processes(store: Store) -> None:
    row = asset(weights=URL)
    probe = (
        "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)",
        str(store.folder / ".toy.lock"),
    )
    with store.locked(row):
        held = subprocess.run([sys.executable, "-c", *probe], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "BlockingIOError" in held.stderr
    assert subprocess.run([sys.executable, "-c", *probe], cwd=ROOT, check=False).returncode == 0


def test_a_source_is_the_same_on_every_mirror() -> None:
    assert source_of(FileRow.model_validate(HUB)) == "huggingface:org/model@main/model.safetensors"
