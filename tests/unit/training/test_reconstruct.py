from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.faces.crop import face_crop
from tests.unit.training.portrait import astronaut
from training.augment import degrade, draw_degradation
from training.forgeries.reconstruct import MARGIN, load_nets, reconstruct, redraw, square_mask, weights_path
from training.forgeries.reconstruct_net import HELD_OUT, SIDE, FaceAutoencoder, new_net
from training.forgeries.reconstruct_train import write_weights

SEEDS = range(6)


class Thumbnail(FaceAutoencoder):
    """What an autoencoder does to a face, without training one: squeezed, and enlarged again."""

    def forward(self, pictures: Tensor) -> Tensor:
        return functional.interpolate(functional.avg_pool2d(pictures, 2), scale_factor=2, mode="bilinear")


@pytest.fixture(scope="module")
def net() -> FaceAutoencoder:
    return Thumbnail("bilinear").eval()


@pytest.mark.parametrize("seed", SEEDS)
def test_reconstructing_changes_the_face_and_nothing_outside_the_mask(seed: int, net: FaceAutoencoder) -> None:
    pair = reconstruct(astronaut(), net, np.random.default_rng(seed))
    change = np.abs(pair.real.astype(int) - pair.forged).max(axis=2)
    assert pair.real.shape == pair.forged.shape == astronaut().rgb.shape
    assert change[pair.mask == 0].max() == 0
    assert 2 < change[pair.mask > 0.5].mean() < 60


def test_the_redrawn_face_is_a_likeness(net: FaceAutoencoder) -> None:
    square = face_crop(astronaut().rgb, astronaut().box_xyxy, MARGIN, SIDE)
    made = redraw(square, net)
    assert made.shape == square.shape
    assert made.dtype == np.uint8
    assert np.corrcoef(made.ravel(), square.ravel())[0, 1] > 0.9


def test_equal_seeds_reconstruct_equally_and_others_do_not(net: FaceAutoencoder) -> None:
    first, again, other = (reconstruct(astronaut(), net, np.random.default_rng(seed)) for seed in (1, 1, 3))
    assert np.array_equal(first.forged, again.forged)
    assert not np.array_equal(first.forged, other.forged)


def test_softness_after_the_same_history_does_not_give_the_reconstruction_away(net: FaceAutoencoder) -> None:
    portrait, sharpness = astronaut(), []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pair, how = reconstruct(portrait, net, rng), draw_degradation(rng)
        crops = (degrade(rgb, portrait.box_xyxy, how, 0.3, 160) for rgb in (pair.real, pair.forged))
        sharpness.append([cv2.Laplacian(crop, cv2.CV_32F).var() for crop in crops])
    real, forged = np.mean(sharpness, axis=0)
    assert forged == pytest.approx(real, rel=0.3)


def test_the_mask_of_a_whole_reconstruction_fills_its_square_and_nothing_else() -> None:
    mask = square_mask((300, 320), left=20, top=40, side=200)
    inside = mask[40:240, 20:220]
    assert inside.mean() > 0.9
    assert inside[10:-10, 10:-10].min() == 1
    assert mask.sum() == pytest.approx(inside.sum())


def test_a_square_that_reaches_past_the_picture_is_cut_off_at_its_edge() -> None:
    mask = square_mask((50, 60), left=-20, top=10, side=100)
    assert mask.shape == (50, 60)
    assert mask[30:, :].min() == 1


def test_trained_weights_come_back_by_architecture_and_the_held_out_one_only_when_asked(tmp_path: Path) -> None:
    made = {name: new_net(name, 3) for name in ("transposed", HELD_OUT)}
    for name, network in made.items():
        write_weights(network, weights_path(tmp_path, network.architecture, 3))
        assert name == network.architecture
    (found,) = load_nets(tmp_path, ("transposed", "nearest", "bilinear"))
    assert found.architecture == "transposed"
    assert not found.training
    expected = made["transposed"].state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in found.state_dict().items())


def test_a_folder_without_networks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nearest"):
        load_nets(tmp_path, ("nearest",))


def test_a_file_that_names_no_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mobilenet.safetensors").touch()
    with pytest.raises(ValueError, match="mobilenet"):
        load_nets(tmp_path, ("nearest",))
