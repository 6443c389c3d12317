import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.detectors.catalogue import AssetRow, ModelRow, load_detector
from models.detectors.mobilenet_sbi import MobileNetV2
from models.detectors.store import Store
from models.errors import NotInstalled, WeightsError
from serve_app.pull import Puller, PullFailed, git_sha1_of
from tests.hub import COMMIT, Hub, serving

CONTENT = bytes(range(256)) * 40
TOKEN = "hf_abc"  # noqa: S105 - of nobody


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def asset(name: str = "toy", **files: dict[str, Any]) -> AssetRow:
    return AssetRow.model_validate(
        {
            "id": name,
            "revision": "1",
            "architecture": "toy",
            "summary": "",
            "licence": "MIT",
            "usage": "any",
            "files": files,
        }
    )


def pinned(hub: Hub, content: bytes = CONTENT, path: str = "/w.safetensors", **more: Any) -> AssetRow:
    """A row with one file at `path`, which the hub has."""
    hub.files.setdefault(path, content)
    return asset(weights={"url": f"{hub.url}{path}", "sha256": sha256(content), **more})


def named(hub: Hub, name: str = "toy", content: bytes = CONTENT) -> AssetRow:
    """A row with one file of a repository, pinned by nothing but its name."""
    hub.put("org/model", "model.safetensors", content)
    return asset(name, weights={"huggingface": "org/model", "revision": "main", "file": "model.safetensors"})


class Pulled:
    """A puller that notes what it says and shows."""

    def __init__(self, store: Store, hub: Hub | str, token: str = "") -> None:
        self.said: list[str] = []
        self.shown: list[tuple[str, int, int | None]] = []
        url = hub if isinstance(hub, str) else hub.url
        self._puller = Puller(store, url, token, say=self.said.append, show=self._show, pause_s=0.0)
        self.stop_at: int | None = None

    def _show(self, name: str, here: int, total: int | None) -> None:
        self.shown.append((name, here, total))
        if self.stop_at is not None and here >= self.stop_at:
            raise KeyboardInterrupt

    def pull(self, row: AssetRow) -> list[str]:
        try:
            return self._puller.pull(row)
        finally:
            self._puller.close()


def installed(store: Store, row: AssetRow) -> bytes:
    return store.file(row, "weights").read_bytes()


def assert_nothing_installed(store: Store, row: AssetRow) -> None:
    assert not store.record(row)
    with pytest.raises(NotInstalled):
        store.files(row)


def stopped(store: Store, hub: Hub, row: AssetRow, cut: int = 5000) -> None:
    """A pull that was ended by Ctrl-C after a part of the file."""
    hub.cut_after = [cut]
    puller = Pulled(store, hub)
    puller.stop_at = cut
    with pytest.raises(KeyboardInterrupt):
        puller.pull(row)
    hub.asked.clear()


def test_a_pulled_file_is_in_the_store_and_recorded(hub: Hub, store: Store) -> None:
    row = pinned(hub, size_bytes=len(CONTENT))
    assert Pulled(store, hub).pull(row) == []
    assert installed(store, row) == CONTENT
    entry = store.record(row)["weights"]
    assert (entry.file, entry.sha256, entry.size_bytes) == ("weights.safetensors", sha256(CONTENT), len(CONTENT))
    assert entry.source == f"{hub.url}/w.safetensors"
    assert entry.installed_at
    assert sorted(path.name for path in store.home(row).iterdir()) == ["installed.json", "weights.safetensors"]


def test_progress_goes_from_nothing_to_the_whole_file(hub: Hub, store: Store) -> None:
    puller = Pulled(store, hub)
    puller.pull(pinned(hub))
    assert puller.shown[0] == ("weights.safetensors", 0, len(CONTENT))
    assert puller.shown[-1] == ("weights.safetensors", len(CONTENT), len(CONTENT))


def test_a_second_pull_asks_for_nothing(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    Pulled(store, hub).pull(row)
    hub.asked.clear()
    Pulled(store, hub).pull(row)
    assert hub.asked == []


def test_an_interrupted_pull_is_resumed_by_asking_for_the_rest_only(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    stopped(store, hub, row)
    assert_nothing_installed(store, row)
    Pulled(store, hub).pull(row)
    assert hub.gets() == [("/w.safetensors", "bytes=5000-")]
    assert installed(store, row) == CONTENT


def test_a_dropped_connection_is_resumed_within_one_pull(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    hub.cut_after = [4000, 3000]
    Pulled(store, hub).pull(row)
    assert [asked for _, asked in hub.gets()] == ["", "bytes=4000-", "bytes=7000-"]
    assert installed(store, row) == CONTENT


def test_a_connection_that_always_drops_without_a_byte_is_given_up_in_one_line(hub: Hub, store: Store) -> None:
    hub.cut_after = [0] * 20
    with pytest.raises(PullFailed, match=r"^127\.0\.0\.1 broke off: [^\n]+ What was received is kept"):
        Pulled(store, hub).pull(pinned(hub))
    assert len(hub.asked) == 5


def test_a_busy_server_is_asked_again(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    hub.busy = 2
    Pulled(store, hub).pull(row)
    assert installed(store, row) == CONTENT


def test_a_file_that_changed_since_is_fetched_from_the_start(hub: Hub, store: Store) -> None:
    old, new = CONTENT, CONTENT[::-1]
    stopped(store, hub, pinned(hub, old))
    hub.files["/w.safetensors"] = new
    row = pinned(hub, new)
    puller = Pulled(store, hub)
    puller.pull(row)
    assert installed(store, row) == new
    assert any("from the start" in line for line in puller.said)


def test_a_server_that_gives_no_parts_is_read_from_the_start(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    stopped(store, hub, row)
    hub.ranges = False
    Pulled(store, hub).pull(row)
    assert installed(store, row) == CONTENT


def test_a_partial_file_longer_than_the_source_is_fetched_from_the_start(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    stopped(store, hub, row)
    part = store.home(row) / "weights.safetensors.part"
    part.write_bytes(CONTENT + b"more")
    Pulled(store, hub).pull(row)
    assert installed(store, row) == CONTENT


def test_a_partial_file_of_another_source_is_not_built_upon(hub: Hub, store: Store) -> None:
    stopped(store, hub, pinned(hub, path="/a.safetensors"))
    row = pinned(hub, path="/b.safetensors")
    Pulled(store, hub).pull(row)
    assert hub.gets() == [("/b.safetensors", "")]


def test_a_tampered_file_is_refused_by_both_hashes_and_deleted(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    evil = b"\xff" + CONTENT[1:]
    hub.tampered["/w.safetensors"] = evil
    with pytest.raises(WeightsError, match=f"sha256 is {sha256(evil)}, not {sha256(CONTENT)}"):
        Pulled(store, hub).pull(row)
    assert_nothing_installed(store, row)
    assert list(store.home(row).iterdir()) == []


def test_a_tampered_rest_is_refused_and_the_next_pull_starts_anew(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    stopped(store, hub, row)
    part = store.home(row) / "weights.safetensors.part"
    part.write_bytes(b"\xff" + part.read_bytes()[1:])
    with pytest.raises(WeightsError, match="was altered"):
        Pulled(store, hub).pull(row)
    hub.asked.clear()
    Pulled(store, hub).pull(row)
    assert hub.gets() == [("/w.safetensors", "")]
    assert installed(store, row) == CONTENT


def test_a_file_of_another_size_is_refused_before_it_is_read(hub: Hub, store: Store) -> None:
    row = pinned(hub, size_bytes=len(CONTENT) + 1)
    puller = Pulled(store, hub)
    with pytest.raises(WeightsError, match=f"has {len(CONTENT)} bytes, not {len(CONTENT) + 1}"):
        puller.pull(row)
    assert puller.shown == []
    assert_nothing_installed(store, row)


def test_a_body_longer_than_the_catalogue_says_is_cut_off_and_refused(hub: Hub, store: Store) -> None:
    hub.lengths = False
    row = pinned(hub, size_bytes=1000)
    with pytest.raises(WeightsError, match="not 1000"):
        Pulled(store, hub).pull(row)
    assert list(store.home(row).iterdir()) == []


def test_a_file_that_is_not_there_is_one_clear_line(hub: Hub, store: Store) -> None:
    row = asset(weights={"url": f"{hub.url}/gone.safetensors", "sha256": "0" * 64})
    with pytest.raises(PullFailed, match=r"^127\.0\.0\.1 answers 404 for http\S+gone\.safetensors\.$"):
        Pulled(store, hub).pull(row)


def test_an_unreachable_host_is_one_clear_line(store: Store) -> None:
    row = asset(weights={"url": "http://127.0.0.1:9/w.safetensors", "sha256": "0" * 64})
    with pytest.raises(PullFailed, match=r"^127\.0\.0\.1 cannot be reached: [^\n]+$"):
        Pulled(store, "http://127.0.0.1:9").pull(row)


def test_an_address_that_is_none_is_named(store: Store) -> None:
    row = asset(weights={"url": "http://[::1/w.safetensors", "sha256": "0" * 64})
    with pytest.raises(PullFailed, match=r"^http://\[::1/w\.safetensors is no address"):
        Pulled(store, "http://127.0.0.1:9").pull(row)


def test_a_disk_that_fills_up_is_one_clear_line(hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "weights.safetensors.part")

    monkeypatch.setattr(Puller, "_write", full)
    with pytest.raises(PullFailed, match=r"^weights\.safetensors\.part: No space left on device\. .* is kept"):
        Pulled(store, hub).pull(pinned(hub))


def test_too_little_room_is_said_before_anything_is_received(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))
    puller = Pulled(store, hub)
    with pytest.raises(PullFailed, match=f"{len(CONTENT)} bytes are needed and 5 are free"):
        puller.pull(pinned(hub))
    assert puller.shown == []


def test_a_file_the_catalogue_does_not_pin_is_held_to_the_hubs_word_and_recorded(hub: Hub, store: Store) -> None:
    row, puller = named(hub), Pulled(store, hub)
    puller.pull(row)
    entry = store.record(row)["weights"]
    assert (entry.sha256, entry.commit) == (sha256(CONTENT), COMMIT)
    assert any(f"not pinned by the catalogue: recorded as sha256 {sha256(CONTENT)}" in line for line in puller.said)
    store.file(row, "weights").write_bytes(CONTENT[::-1])
    with pytest.raises(WeightsError, match="altered"):
        store.files(row)


def test_a_file_that_is_not_what_the_hub_says_is_refused(hub: Hub, store: Store) -> None:
    row = named(hub)
    hub.tampered[f"/org/model/resolve/{COMMIT}/model.safetensors"] = CONTENT[::-1]
    with pytest.raises(WeightsError, match=f"not {sha256(CONTENT)}"):
        Pulled(store, hub).pull(row)
    assert_nothing_installed(store, row)


def test_a_small_file_is_held_to_the_name_that_git_gives_it(hub: Hub, store: Store) -> None:
    hub.git = True
    row = named(hub)
    Pulled(store, hub).pull(row)
    assert store.record(row)["weights"].sha256 == sha256(CONTENT)
    other = named(hub, "other")
    hub.tampered[f"/org/model/resolve/{COMMIT}/model.safetensors"] = CONTENT[::-1]
    with pytest.raises(WeightsError, match="its git blob is"):
        Pulled(store, hub).pull(other)


def test_the_content_is_asked_for_by_commit_so_that_a_branch_may_move(hub: Hub, store: Store) -> None:
    Pulled(store, hub).pull(named(hub))
    assert hub.gets() == [(f"/org/model/resolve/{COMMIT}/model.safetensors", "")]


def test_a_file_that_nothing_pins_is_refused(hub: Hub, store: Store) -> None:
    row = named(hub)
    hub.speaks = False
    with pytest.raises(WeightsError, match=r"nothing says what huggingface:org/model@main/model\.safetensors"):
        Pulled(store, hub).pull(row)
    assert hub.gets() == []


def test_a_pinned_file_of_a_repository_needs_no_word_of_the_hub(hub: Hub, store: Store) -> None:
    hub.put("org/model", "model.safetensors", CONTENT)
    hub.speaks = False
    source = {"huggingface": "org/model", "revision": "main", "file": "model.safetensors"}
    row = asset(weights={**source, "sha256": sha256(CONTENT)})
    Pulled(store, hub).pull(row)
    assert installed(store, row) == CONTENT


def test_git_names_content_as_git_itself_does(tmp_path: Path) -> None:
    file = tmp_path / "hello"
    file.write_bytes(b"hello\n")
    assert git_sha1_of(file) == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object


def test_the_token_goes_to_the_hub_and_not_along_a_redirect(hub: Hub, store: Store) -> None:
    with serving() as elsewhere:
        row = named(hub)
        elsewhere.files["/signed"] = CONTENT
        for revision in ("main", COMMIT):
            hub.redirects[f"/org/model/resolve/{revision}/model.safetensors"] = f"{elsewhere.url}/signed"
        Pulled(store, hub, TOKEN).pull(row)
        assert {token for *_, token in hub.asked} == {f"Bearer {TOKEN}"}
        assert [token for *_, token in elsewhere.asked] == [""]
    assert installed(store, row) == CONTENT


def test_the_token_does_not_go_to_another_host_of_a_row(hub: Hub, store: Store) -> None:
    Pulled(store, "http://hub.invalid", TOKEN).pull(pinned(hub))
    assert [token for *_, token in hub.asked] == [""]


def test_a_redirect_to_a_file_on_this_machine_is_not_followed(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    hub.redirects["/w.safetensors"] = "file:///etc/passwd"
    with pytest.raises(PullFailed, match="leads to file:"):
        Pulled(store, hub).pull(row)


def test_a_circle_of_redirects_ends(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    hub.redirects["/w.safetensors"] = "/w.safetensors"
    with pytest.raises(PullFailed, match="5 times"):
        Pulled(store, hub).pull(row)


def test_a_file_behind_terms_says_how_to_get_at_it(hub: Hub, store: Store) -> None:
    row = named(hub)
    hub.gated.add("/org/model/resolve/main/model.safetensors")
    with pytest.raises(PullFailed, match=r"401.*HF_TOKEN"):
        Pulled(store, hub).pull(row)


def test_an_encoder_that_another_model_has_is_linked_and_not_fetched_again(hub: Hub, store: Store) -> None:
    first, second = named(hub, "first"), named(hub, "second")
    Pulled(store, hub).pull(first)
    hub.asked.clear()
    Pulled(store, hub).pull(second)
    assert hub.gets() == []
    assert store.file(first, "weights").samefile(store.file(second, "weights"))


def test_an_altered_file_of_another_model_is_not_linked(hub: Hub, store: Store) -> None:
    first, second = named(hub, "first"), named(hub, "second")
    Pulled(store, hub).pull(first)
    store.file(first, "weights").write_bytes(CONTENT[::-1])
    Pulled(store, hub).pull(second)
    assert installed(store, second) == CONTENT


def test_an_altered_file_is_replaced(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    Pulled(store, hub).pull(row)
    store.file(row, "weights").write_bytes(b"altered")
    Pulled(store, hub).pull(row)
    assert installed(store, row) == CONTENT


def test_files_that_arrived_before_an_interruption_are_not_fetched_again(hub: Hub, store: Store) -> None:
    hub.files |= {"/config.json": b"{}", "/w.safetensors": CONTENT}
    row = asset(
        config={"url": f"{hub.url}/config.json", "sha256": sha256(b"{}")},
        weights={"url": f"{hub.url}/w.safetensors", "sha256": sha256(CONTENT)},
    )
    stopped(store, hub, row)
    assert store.record(row).keys() == {"config"}
    Pulled(store, hub).pull(row)
    assert [path for path, _ in hub.gets()] == ["/w.safetensors"]
    assert store.is_installed(row)


def test_a_file_that_only_the_operator_has_is_named(hub: Hub, store: Store) -> None:
    hub.files["/config.json"] = b"{}"
    row = asset(weights={"path": ""}, config={"url": f"{hub.url}/config.json", "sha256": sha256(b"{}")})
    assert Pulled(store, hub).pull(row) == ["weights"]
    assert store.record(row).keys() == {"config"}


def test_two_pulls_at_once_fetch_once_and_agree(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    threads = [threading.Thread(target=Pulled(store, hub).pull, args=(row,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hub.gets()) == 1
    assert installed(store, row) == CONTENT


def pickled(path: Path) -> bytes:
    torch.save({"state_dict": {"fc.weight": torch.ones(2, 3)}, "optimizer": {"lr": 1}}, path)
    return path.read_bytes()


def test_a_published_pickle_is_converted_on_the_way_in_and_not_kept(hub: Hub, store: Store, tmp_path: Path) -> None:
    content = pickled(tmp_path / "a.pth")
    row = pinned(hub, content, "/a.pth")
    puller = Pulled(store, hub)
    puller.pull(row)
    path = store.file(row, "weights")
    assert load_file(path)["fc.weight"].tolist() == [[1.0] * 3] * 2
    assert sorted(file.name for file in store.home(row).iterdir()) == ["installed.json", "weights.safetensors"]
    entry = store.record(row)["weights"]
    assert entry.source_sha256 == sha256(content)
    assert entry.sha256 == sha256(path.read_bytes())
    assert any("left out: optimizer" in line for line in puller.said)


def test_a_pickle_that_will_not_convert_leaves_nothing(hub: Hub, store: Store) -> None:
    row = pinned(hub, b"not a pickle", "/a.pth")
    with pytest.raises(WeightsError, match="no file of PyTorch weights"):
        Pulled(store, hub).pull(row)
    assert list(store.home(row).iterdir()) == []


def test_what_was_pulled_loads_with_the_server_gone(store: Store, tmp_path: Path) -> None:
    save_file(MobileNetV2().state_dict(), tmp_path / "net.safetensors")
    with serving() as hub:
        base = pinned(hub, (tmp_path / "net.safetensors").read_bytes())
        detector = {**base.model_dump(), "architecture": "mobilenet_sbi", "view": {"region": "face", "size": 160}}
        row = ModelRow.model_validate(detector)
        Pulled(store, hub).pull(row)
    assert load_detector(row, store).view.size == 160


def test_the_record_is_plain_json_that_says_where_each_file_is_from(hub: Hub, store: Store) -> None:
    row = pinned(hub)
    Pulled(store, hub).pull(row)
    content = json.loads((store.home(row) / "installed.json").read_text())
    assert content["files"]["weights"]["source"] == f"{hub.url}/w.safetensors"
