import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from models.detectors.catalogue import CATALOGUE_FILE, AssetRow, load_detector, read_catalogue
from models.detectors.mobilenet_sbi import MobileNetV2
from serve_app import cards
from serve_app.cli import app
from serve_app.models_cli import is_permissive
from serve_app.pull import Puller
from serve_app.settings import Settings, read_settings
from serve_app.terminal import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from tests.hub import Hub, serving

runner = CliRunner()
CONTENT = b"weights" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BUNDLED = "mobilenet-sbi-v1"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as running:
        running.files["/w.safetensors"] = CONTENT
        yield running


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes rows into a temporary catalogue that the commands then use, after the bundled one."""
    monkeypatch.setenv("UNMASK_MODELS_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("UNMASK_CATALOGUE", str(tmp_path / "models.yaml"))
    monkeypatch.setitem(Settings.model_config, "env_file", None)

    def written(*rows: dict[str, Any], tools: tuple[dict[str, Any], ...] = ()) -> None:
        content = yaml.safe_load(CATALOGUE_FILE.read_text("utf-8"))
        content["models"] = [row for row in content["models"] if row["id"] == BUNDLED]
        content["models"] += rows
        content["tools"] = list(tools)
        (tmp_path / "models.yaml").write_text(yaml.safe_dump(content), "utf-8")

    return written


def row(name: str = "toy", licence: str = "MIT", **file: Any) -> dict[str, Any]:
    return {
        "id": name,
        "revision": "1",
        "enabled": False,
        "architecture": "mobilenet_sbi",
        "summary": f"The summary of {name}",
        "licence": licence,
        "usage": "research only; not for accusing anybody",
        "files": {"weights": {"size_bytes": len(CONTENT), **file} if "path" not in file else file},
        "view": {"region": "face", "size": 160},
    }


def from_hub(hub: Hub, **more: Any) -> dict[str, Any]:
    return row(url=f"{hub.url}/w.safetensors", sha256=SHA256, **more)


def models(*arguments: str) -> Result:
    return runner.invoke(app, ["models", *arguments])


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def printed(*, width: int) -> str:
    console, catalogue = Console(width=width, file=io.StringIO()), read_catalogue_now()
    with console.capture() as captured:
        cards.print_list(catalogue, (*catalogue.every, *catalogue.tools), console)
    return captured.get()


def read_catalogue_now() -> Any:
    return read_settings().read_catalogue()


def test_list_has_a_json_line_per_model_and_tool(write: Any, hub: Hub) -> None:
    tool = {key: value for key, value in from_hub(hub).items() if key not in {"view", "enabled"}}
    write(row("own", path=""), tools=(tool,))
    found = lines(models("list"))
    assert [(line["id"], line["sees"], line["installed"], line["served"]) for line in found] == [
        (BUNDLED, "faces", True, True),
        ("own", "faces", False, False),
        ("toy", "tool", False, False),
    ]


def test_list_of_those_that_are_served_leaves_the_others_out(write: Any) -> None:
    write(row("own", path=""))
    assert [line["id"] for line in lines(models("list", "--served"))] == [BUNDLED]


@pytest.mark.parametrize("width", [80, 120])
def test_a_list_of_many_models_has_a_line_each_and_fits_the_terminal(write: Any, width: int) -> None:
    names = [f"a-rather-long-name-of-model-{i}" for i in range(25)]
    write(*(row(name, "CC BY-NC-SA 4.0 (weights)", path="") for name in names))
    text = printed(width=width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    rows = [line for line in text.splitlines() if "a-rather-long-name" in line]
    assert len(rows) == 25
    assert all(name in line and "CC BY-NC-SA" in line for name, line in zip(names, rows, strict=True))
    assert ("The summary" in text) == (width == 120)


def test_the_list_keeps_what_looks_at_the_same_together(write: Any) -> None:
    sound = {**row("voice", path=""), "view": {"region": "audio", "size": 64600, "fit": "repeat"}}
    write(sound, row("another-face", path=""))
    order = [line.split()[0] for line in printed(width=80).splitlines()[1:4]]
    assert order == [BUNDLED, "another-face", "voice"]


def test_the_card_tells_reported_figures_from_measured_ones(write: Any) -> None:
    write({**row("own", path=""), "reported": ["AUC 0.99, by its authors"], "measured": ["AUC 0.61, here"]})
    words = " ".join(models("show", "own").stdout.split())
    assert "reported by others AUC 0.99, by its authors" in words
    assert "measured here AUC 0.61, here" in words


def test_the_card_of_a_model_that_is_not_here_names_the_command(write: Any, hub: Hub) -> None:
    write(from_hub(hub))
    words = " ".join(models("show", "toy").stdout.split())
    assert "not installed; `unmask models pull toy`" in words
    assert SHA256 in words


def test_the_card_of_a_bundled_model_begins_with_its_own_words(write: Any) -> None:
    write()
    words = " ".join(models("show", BUNDLED).stdout.split())
    assert "Tells whether a face in a picture or a video was blended in, swapped" in words
    assert "| file |" not in words


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ({"region": "frame", "size": 224, "fit": "crop", "resample": "bicubic"}, "16 whole frames, 224 px, scaled"),
        ({"region": "face", "size": 256, "align": "five_points"}, "256 px, squashed .* aligned by five points"),
        ({"region": "audio", "size": 64600, "fit": "repeat"}, "16 windows of 4.04 s .* evenly spaced; shorter sound"),
        ({"region": "audio", "size": 64000, "fit": "pad", "hop": 48000}, "every 3 s; silence added"),
    ],
)
def test_a_view_is_told_in_words(write: Any, view: dict[str, Any], words: str) -> None:
    write({**row("own", path=""), "view": view})
    assert re.search(words, " ".join(models("show", "own").stdout.split()))


@pytest.mark.parametrize(
    "command", [["show"], ["pull"], ["remove"], ["verify"], ["convert", __file__, "--as", "x", "--id"]]
)
def test_an_unknown_model_is_exit_code_2_and_names_those_there_are(write: Any, command: list[str]) -> None:
    write()
    result = models(*command, "nope")
    assert result.exit_code == EXIT_USAGE
    assert BUNDLED in result.stderr


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0", "BSD-3-Clause", "CC0-1.0", "CC BY 4.0", "MIT, Apache-2.0"])
def test_licences_for_any_use_are_not_asked_about(licence: str) -> None:
    assert is_permissive(licence)


@pytest.mark.parametrize(
    "licence",
    ["CC BY-NC 4.0", "CC BY-SA 4.0", "none stated", "", "MIT (code); weights for research", "MIT and CC BY-NC 4.0"],
)
def test_every_other_licence_is_asked_about(licence: str) -> None:
    assert not is_permissive(licence)


def test_pull_says_licence_and_usage_before_it_asks_for_anything(write: Any, hub: Hub) -> None:
    write(from_hub(hub))
    hub.files.clear()
    result = models("pull", "toy")
    assert result.exit_code == EXIT_FAILED
    before, _, after = result.stderr.partition("answers 404")
    assert "MIT" in before
    assert "not for accusing anybody" in before
    assert after


def test_pull_brings_a_permissive_model_without_asking(write: Any, hub: Hub) -> None:
    write(from_hub(hub))
    result = models("pull", "toy")
    assert result.exit_code == 0, result.stderr
    assert read_catalogue_now().store.is_installed(read_catalogue_now().asset("toy"))


def test_pull_of_a_restricted_model_is_refused_where_nobody_can_be_asked(write: Any, hub: Hub) -> None:
    write(from_hub(hub, licence="CC BY-NC 4.0"))
    result = models("pull", "toy")
    assert result.exit_code == EXIT_USAGE
    assert "--yes" in result.stderr
    assert hub.asked == []


def test_pull_of_a_restricted_model_passes_with_yes(write: Any, hub: Hub) -> None:
    write(from_hub(hub, licence="CC BY-NC 4.0"))
    assert models("pull", "toy", "--yes").exit_code == 0


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", EXIT_USAGE)])
def test_pull_of_a_restricted_model_asks_on_a_terminal(
    write: Any, hub: Hub, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    write(from_hub(hub, licence="CC BY-NC 4.0"))
    monkeypatch.setattr("serve_app.models_cli._is_interactive", lambda: True)
    assert runner.invoke(app, ["models", "pull", "toy"], input=answer).exit_code == code


def test_ctrl_c_says_that_the_next_pull_goes_on(write: Any, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    write(from_hub(hub))
    monkeypatch.setattr(Puller, "_write", interrupted)
    result = models("pull", "toy")
    assert result.exit_code == EXIT_INTERRUPTED
    assert "`unmask models pull toy` goes on" in result.stderr


def test_pull_of_a_model_that_is_the_operators_own_shows_how_to_convert_it(write: Any) -> None:
    write(row("own", path=""))
    result = models("pull", "own")
    assert result.exit_code == EXIT_FAILED
    assert "`unmask models convert FILE --as mobilenet_sbi --id own`" in result.stderr


def test_pull_of_a_bundled_model_has_nothing_to_do(write: Any, tmp_path: Path) -> None:
    write()
    result = models("pull", BUNDLED)
    assert result.exit_code == 0
    assert "nothing to pull" in result.stderr
    assert not (tmp_path / "store").exists()


def test_an_own_file_without_a_licence_is_not_asked_about(write: Any) -> None:
    write(row("own", "none stated", path=""))
    assert "--yes" not in models("pull", "own").stderr


def test_pull_reads_the_hub_and_its_token_from_the_settings(
    write: Any, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("org/model", "model.safetensors", CONTENT)
    write(row(huggingface="org/model", revision="main", file="model.safetensors"))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    result = models("pull", "toy")
    assert result.exit_code == 0, result.stderr
    assert {token for *_, token in hub.asked} == {"Bearer hf_abc"}
    assert "hf_abc" not in runner.invoke(app, ["settings"]).output


def test_verify_finds_one_flipped_byte(write: Any, hub: Hub) -> None:
    write(from_hub(hub))
    models("pull", "toy")
    assert models("verify").exit_code == 0
    path = read_catalogue_now().store.file(read_catalogue_now().asset("toy"), "weights")
    path.write_bytes(CONTENT[:-1] + b"S")
    result = models("verify")
    assert result.exit_code == EXIT_FAILED
    assert {line["id"]: line["state"] for line in lines(result)} == {BUNDLED: "ok", "toy": "altered"}


def test_verify_of_a_model_that_is_not_here_says_missing(write: Any, hub: Hub) -> None:
    write(from_hub(hub))
    assert models("verify").exit_code == 0
    result = models("verify", "toy")
    assert result.exit_code == EXIT_FAILED
    assert lines(result)[0]["state"] == "missing"


def test_verify_does_not_count_a_model_as_here_that_a_pull_could_not_bring(write: Any, hub: Hub) -> None:
    write(from_hub(hub))
    hub.files.clear()
    assert models("pull", "toy").exit_code == EXIT_FAILED
    result = models("verify")
    assert result.exit_code == 0
    assert [line["id"] for line in lines(result)] == [BUNDLED]


def checkpoint(folder: Path, **changes: torch.Tensor) -> Path:
    torch.manual_seed(0)
    path = folder / "trained.pth"
    torch.save({"state_dict": {**MobileNetV2().state_dict(), **changes}, "optimizer": {"lr": 0.1}}, path)
    return path


def test_convert_with_an_id_installs_so_that_it_can_be_served(write: Any, tmp_path: Path) -> None:
    write(row("own", path=""))
    result = models("convert", str(checkpoint(tmp_path)), "--as", "mobilenet_sbi", "--id", "own")
    assert result.exit_code == 0, result.stderr
    catalogue = read_catalogue_now()
    path = catalogue.store.file(catalogue.asset("own"), "weights")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in result.stdout
    assert "left out: optimizer" in result.stderr
    assert "loads strictly" in result.stderr
    assert load_detector(catalogue.every[-1], catalogue.store).view.size == 160


def test_convert_of_a_file_that_does_not_fit_installs_nothing(write: Any, tmp_path: Path) -> None:
    write(row("own", path=""))
    wrong = checkpoint(tmp_path, surplus=torch.ones(1))
    result = models("convert", str(wrong), "--as", "mobilenet_sbi", "--id", "own")
    assert result.exit_code == EXIT_FAILED
    assert "unexpected key surplus" in result.stderr
    assert list((tmp_path / "store" / "own").iterdir()) == []


def test_convert_names_the_file_it_was_given_and_a_key_that_only_has_a_prefix(write: Any, tmp_path: Path) -> None:
    write(row("own", path=""))
    path = tmp_path / "parallel.pth"
    torch.save({f"student.{key}": tensor for key, tensor in MobileNetV2().state_dict().items()}, path)
    key = next(iter(MobileNetV2().state_dict()))
    for options in ([], ["--id", "own"]):
        result = models("convert", str(path), "--as", "mobilenet_sbi", *options)
        assert result.exit_code == EXIT_FAILED
        assert f"{path} lacks the key {key}. It has student.{key} instead." in result.stderr


def test_convert_of_half_a_model_says_what_was_not_checked(write: Any, hub: Hub, tmp_path: Path) -> None:
    own = row("own", path="")
    own["files"]["encoder"] = {"url": f"{hub.url}/w.safetensors", "sha256": SHA256}
    write(own)
    result = models("convert", str(checkpoint(tmp_path)), "--as", "mobilenet_sbi", "--id", "own")
    assert result.exit_code == 0, result.stderr
    assert "not checked: own is not installed" in result.stderr
    assert "`unmask models pull own`" in result.stderr
    assert models("pull", "own").exit_code == 0
    assert read_catalogue_now().store.is_installed(read_catalogue_now().asset("own"))


def test_convert_without_an_id_writes_beside_the_file_and_shows_the_row(write: Any, tmp_path: Path) -> None:
    write()
    result = models("convert", str(checkpoint(tmp_path)), "--as", "mobilenet_sbi")
    assert result.exit_code == 0, result.stderr
    files = yaml.safe_load(result.stderr.partition("catalogue:\n")[2])
    path = tmp_path / "trained.safetensors"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert files == {"files": {"weights": {"path": str(path), "sha256": sha256}}}


def test_the_row_that_convert_shows_is_served_as_it_is(write: Any, tmp_path: Path) -> None:
    write()
    result = models("convert", str(checkpoint(tmp_path)), "--as", "mobilenet_sbi")
    write({**row("mine", path=""), **yaml.safe_load(result.stderr.partition("catalogue:\n")[2])})
    catalogue = read_catalogue_now()
    assert load_detector(catalogue.every[-1], catalogue.store).view.size == 160


def test_convert_for_an_architecture_without_a_row_says_that_it_was_not_tried(write: Any, tmp_path: Path) -> None:
    write()
    torch.save({"fc.weight": torch.ones(1, 768)}, tmp_path / "head.pth")
    result = models("convert", str(tmp_path / "head.pth"), "--as", "clip_linear")
    assert result.exit_code == 0, result.stderr
    assert "not checked: no row of the catalogue says how clip_linear is used" in result.stderr


def test_convert_does_not_overwrite(write: Any, tmp_path: Path) -> None:
    write()
    there = tmp_path / "there.safetensors"
    there.write_bytes(b"precious")
    result = models("convert", str(checkpoint(tmp_path)), "--as", "mobilenet_sbi", "--output", str(there))
    assert result.exit_code == EXIT_USAGE
    assert there.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--as", "nope"], "no architecture 'nope'"),
        (["--as", "mesonet", "--id", "own"], "is of the architecture mobilenet_sbi"),
        (["--as", "mobilenet_sbi", "--id", "own", "--file", "encoder"], "has no file 'encoder'"),
        (["--as", "mobilenet_sbi", "--id", BUNDLED], "names its own file"),
        (["--as", "mobilenet_sbi", "--id", "hub"], "nothing pins"),
    ],
)
def test_convert_refuses_what_cannot_be_meant(write: Any, tmp_path: Path, arguments: list[str], why: str) -> None:
    write(row("own", path=""), row("hub", huggingface="org/model", revision="main", file="model.safetensors"))
    result = models("convert", str(checkpoint(tmp_path)), *arguments)
    assert result.exit_code == EXIT_USAGE
    assert why in result.stderr


def test_a_pinned_file_that_came_by_other_means_is_taken_if_it_is_the_one(write: Any, tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    pin = hashlib.sha256(path.read_bytes()).hexdigest()
    write(row("right", url="https://example.org/a.pth", sha256=pin), row("wrong", url="https://x.org/a", sha256=SHA256))
    assert models("convert", str(path), "--as", "mobilenet_sbi", "--id", "right").exit_code == 0
    result = models("convert", str(path), "--as", "mobilenet_sbi", "--id", "wrong")
    assert result.exit_code == EXIT_FAILED
    assert f"its sha256 is {pin}, not {SHA256}" in result.stderr


def test_remove_deletes_the_files_and_says_what_was_freed(write: Any, hub: Hub, tmp_path: Path) -> None:
    write(from_hub(hub))
    models("pull", "toy")
    result = models("remove", "toy")
    assert result.exit_code == 0
    assert "were freed" in result.stderr
    assert not (tmp_path / "store" / "toy").exists()


def test_remove_asks_on_a_terminal(write: Any, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(from_hub(hub))
    models("pull", "toy")
    monkeypatch.setattr("serve_app.models_cli._is_interactive", lambda: True)
    assert runner.invoke(app, ["models", "remove", "toy"], input="n\n").exit_code == EXIT_USAGE
    assert (tmp_path / "store" / "toy").exists()


def test_a_store_that_cannot_be_written_is_one_clear_line(write: Any, hub: Hub, tmp_path: Path) -> None:
    write(from_hub(hub))
    (tmp_path / "store").write_text("a file where the folder should be")
    result = models("pull", "toy")
    assert result.exit_code == EXIT_FAILED
    assert f"{tmp_path / 'store'}" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bundled_model_is_not_removed(write: Any) -> None:
    write()
    result = models("remove", BUNDLED, "--yes")
    assert result.exit_code == EXIT_USAGE
    assert "is part of the project" in result.stderr


def test_sizes_are_told_as_a_person_would() -> None:
    assert [cards.size(n) for n in (0, 4083, 232_600, 1_281_532, 121_157_744, 1_710_000_000)] == [
        "0 B",
        "4.1 kB",
        "233 kB",
        "1.3 MB",
        "121 MB",
        "1.7 GB",
    ]


def test_every_licence_of_the_catalogue_is_stated() -> None:
    rows: tuple[AssetRow, ...] = (*read_catalogue().every, *read_catalogue().tools)
    assert all(row.licence and row.usage for row in rows)
