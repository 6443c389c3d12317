import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training.recipes import __main__ as command
from training.recipes.__main__ import EXIT_STOPPED, EXIT_WRONG, main
from training.recipes.errors import TrainingError
from training.recipes.fit import CURVES, HISTORY, Course, Look, Plan
from training.recipes.outcome import CARD
from training.recipes.recipe import Order, Recipe, Trained
from training.recipes.registry import known, recipe

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "training.md"
ORDERS: list[Order] = []


def write_down(order: Order) -> Trained:
    ORDERS.append(order)
    weights = order.out / "toy-v1.safetensors"
    weights.write_bytes(b"weights")
    return Trained(weights, Course(step=200, looks=[Look(200, 1.0, 0.5, {"auc": 0.75})]))


TOY = Recipe("toy-v1", Plan(steps=50, check_every=10), write_down, needs=("faces_real.csv", "faces_real"))


@pytest.fixture(autouse=True)
def orders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Order]]:
    """What the toy recipe was told; the command runs in a folder of its own, without drawing faces."""
    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "recipe", lambda name: TOY if name == TOY.id else recipe(name))
    monkeypatch.setattr(command, "write_data", lambda data, *_: data.mkdir(parents=True))
    monkeypatch.setattr(command, "write_card", lambda order, *_: order.out / CARD)
    ORDERS.clear()
    yield ORDERS
    torch.set_num_threads(threads)


@pytest.fixture
def data(tmp_path: Path) -> str:
    (tmp_path / "data" / "faces_real").mkdir(parents=True)
    (tmp_path / "data" / "faces_real.csv").touch()
    return str(tmp_path / "data")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that cannot be followed says."""
    assert main(arguments) == EXIT_WRONG
    assert ORDERS == []
    return capsys.readouterr().err


@pytest.mark.parametrize("name", known())
def test_every_recipe_is_found_by_the_id_it_bears(name: str) -> None:
    assert recipe(name).id == name


@pytest.mark.parametrize("name", known())
def test_every_recipe_is_in_the_document(name: str) -> None:
    assert f"`{name}`" in DOCUMENT.read_text("utf-8")


def test_an_unknown_recipe_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "mobilenet", "--smoke")
    assert "no recipe mobilenet" in said
    assert "mobilenet-sbi-v1" in said


def test_a_folder_that_lacks_something_says_what_and_what_is_read(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(data) / "faces_real.csv").unlink()
    said = refused(capsys, TOY.id, "--data", data)
    assert f"{data} has no faces_real.csv." in said
    assert "reads faces_real.csv, faces_real" in said


def test_no_data_folder_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--data is missing" in refused(capsys, TOY.id)


def test_a_gpu_that_is_not_there_is_said(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "sees no GPU here" in refused(capsys, TOY.id, "--data", data, "--device", "cuda")


def test_a_gpu_beyond_those_there_is_said(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert "there are 1 GPUs" in refused(capsys, TOY.id, "--data", data, "--device", "cuda:1")


@pytest.mark.parametrize("device", ["gpu", "cpu:0", "cuda:", "cuda:x"])
def test_a_device_that_is_none_names_the_known_ones(device: str, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Known are: cpu, cuda" in refused(capsys, TOY.id, "--data", data, "--device", device)


@pytest.mark.parametrize(("option", "value"), [("--steps", "0"), ("--minutes", "nan"), ("--seed", "-1")])
def test_a_number_out_of_range_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([TOY.id, "--smoke", option, value])
    assert option in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--data", "--shared"])
def test_a_smoke_run_takes_no_folders_of_real_runs(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Leave --data and --shared out" in refused(capsys, TOY.id, "--smoke", option, "x")


def test_the_plan_is_the_recipes_own_where_the_command_says_nothing(data: str, orders: list[Order]) -> None:
    assert main([TOY.id, "--data", data]) == 0
    assert orders[0].plan == TOY.plan
    assert orders[0].out == Path("training/runs/toy-v1")
    assert orders[0].shared == Path("training/runs/shared")


def test_options_reach_the_recipe(data: str, orders: list[Order]) -> None:
    options = ["--steps", "7", "--minutes", "1.5", "--seed", "3", "--workers", "2", "--out", "o", "--shared", "s"]
    assert main([TOY.id, "--data", data, *options]) == 0
    assert orders == [
        Order(Path(data), Path("o"), Path("s"), Plan(steps=7, minutes=1.5, check_every=10), seed=3, workers=2)
    ]


def test_what_was_written_is_printed(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([TOY.id, "--data", data])
    said = capsys.readouterr().out
    assert "kept are the weights of step 200: auc 0.7500" in said
    assert all(name in said for name in ("toy-v1.safetensors, 7 bytes", HISTORY, CURVES))


@pytest.mark.parametrize("others", [["--seed", "2"], ["--smoke"]], ids=["another seed", "a smoke run"])
def test_a_folder_of_another_run_is_refused(others: list[str], data: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([TOY.id, "--data", data, "--out", "o"])
    ORDERS.clear()
    source = [] if "--smoke" in others else ["--data", data]
    said = refused(capsys, TOY.id, *source, "--out", "o", *others)
    assert "o holds the run recipe=toy-v1 seed=1 smoke=False, not" in said


def test_a_folder_of_another_recipe_is_refused(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("o").mkdir()
    Path("o/run.json").write_text(json.dumps({"recipe": "other-v1", "seed": 1, "smoke": False}))
    assert "holds the run recipe=other-v1" in refused(capsys, TOY.id, "--data", data, "--out", "o")


def test_a_smoke_run_shares_nothing_and_starts_anew_each_time(orders: list[Order]) -> None:
    main([TOY.id, "--smoke"])
    (orders[0].out / "left from before").touch()
    main([TOY.id, "--smoke"])
    assert orders[1].smoke
    assert orders[1].out == Path("training/runs/smoke/toy-v1")
    assert all(orders[1].out in folder.parents for folder in (orders[1].data, orders[1].shared))
    assert not (orders[1].out / "left from before").exists()


def ending(error: BaseException, monkeypatch: pytest.MonkeyPatch, data: str) -> int:
    """The exit code when training ends with an error."""

    def ends(_order: Order) -> Trained:
        raise error

    monkeypatch.setattr(command, "recipe", lambda _name: Recipe(TOY.id, TOY.plan, ends, TOY.needs))
    return main([TOY.id, "--data", data])


def test_a_run_that_is_stopped_says_how_it_goes_on(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(KeyboardInterrupt(), monkeypatch, data) == EXIT_STOPPED
    assert "goes on from the last checkpoint" in capsys.readouterr().err


def test_a_run_that_fails_says_why_in_a_line(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(TrainingError("No."), monkeypatch, data) == EXIT_WRONG
    assert capsys.readouterr().err == "error: No.\n"
