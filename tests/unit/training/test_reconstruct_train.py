import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.unit.training.portrait import astronaut
from training.forgeries import reconstruct_train
from training.forgeries.reconstruct import load_nets
from training.forgeries.reconstruct_net import SIDE, new_net
from training.forgeries.reconstruct_train import (
    BATCH,
    Run,
    advance,
    draw_batch,
    new_run,
    psnr_db,
    reconstruction_loss,
    train,
)
from training.portraits import POINTS


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with one face, once to train on and once to validate with, and its boxes."""
    face = astronaut()
    fields = {"face_x": 87, "face_y": 82, "face_w": 96, "face_h": 95}
    fields |= {f"{name}_{axis}": face.points[i, k] for i, name in enumerate(POINTS) for k, axis in enumerate("xy")}
    rows = [{"file": f"faces_real/{split}.png", "split": split, **fields} for split in ("train", "val")]
    (tmp_path / "faces_real").mkdir()
    for row in rows:
        cv2.imwrite(str(tmp_path / str(row["file"])), face.rgb[..., ::-1])
    with (tmp_path / "faces_real.csv").open("w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "out").mkdir()
    boxes = {row["file"]: face.box_xyxy.tolist() for row in rows}
    (tmp_path / "out" / "boxes.json").write_text(json.dumps(boxes))
    return tmp_path


def test_batches_depend_on_seed_and_step_alone() -> None:
    faces = [astronaut()]
    assert draw_batch(faces, 1, 5).shape == (BATCH, SIDE, SIDE, 3)
    assert np.array_equal(draw_batch(faces, 1, 5), draw_batch(faces, 1, 5))
    assert not np.array_equal(draw_batch(faces, 1, 5), draw_batch(faces, 1, 6))


def test_a_few_steps_bring_the_reconstruction_nearer() -> None:
    run, faces = new_run("nearest", 1), [astronaut()]
    before = psnr_db(run.net, faces)
    for step in range(25):
        advance(run, draw_batch(faces, 1, step)[:2], 0)
    assert psnr_db(run.net, faces) > before + 2


def test_lost_edges_cost_though_the_mean_is_right() -> None:
    stripes = torch.zeros(1, 3, 8, 8)
    stripes[..., ::2] = 1
    flat = torch.full_like(stripes, 0.5)
    assert float(reconstruction_loss(stripes, stripes)) == 0
    assert float(reconstruction_loss(flat, stripes)) == pytest.approx(0.5 + 1.0)


def test_psnr_of_a_perfect_copy_is_higher_than_of_an_untrained_network() -> None:
    assert 0 < psnr_db(new_net("nearest", 1), [astronaut()]) < 20


def test_training_interrupted_and_started_again_ends_where_one_run_ends(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconstruct_train, "CHECK_EVERY", 1)
    one, two = data / "one", data / "out"
    one.mkdir()
    (one / "boxes.json").write_text((two / "boxes.json").read_text())
    train(data, one, "transposed", 1, minutes=math.inf, steps=4)
    monkeypatch.setattr(reconstruct_train, "advance", _cut_off_at(3))
    with pytest.raises(KeyboardInterrupt):
        train(data, two, "transposed", 1, minutes=math.inf, steps=4)
    monkeypatch.setattr(reconstruct_train, "advance", advance)
    train(data, two, "transposed", 1, minutes=math.inf, steps=4)
    (straight,), (resumed,) = (load_nets(folder, ("transposed",)) for folder in (one, two))
    first, second = straight.state_dict(), resumed.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_started_again_with_more_steps_it_goes_on_from_the_checkpoint(data: Path) -> None:
    for steps in (2, 4):
        train(data, data / "out", "bilinear", 1, minutes=math.inf, steps=steps)
        assert torch.load(data / "out" / "bilinear-1.pt", weights_only=True)["step"] == steps


def _cut_off_at(step: int) -> Callable[[Run, NDArray[np.uint8], float], float]:
    def cut_off(run: Run, batch: NDArray[np.uint8], done: float) -> float:
        if run.step == step:
            raise KeyboardInterrupt
        return advance(run, batch, done)

    return cut_off
