import numpy as np
import pytest
import torch

from training.forgeries.reconstruct_net import (
    ARCHITECTURES,
    CODE,
    HELD_OUT,
    SIDE,
    Architecture,
    FaceAutoencoder,
    new_net,
)

LEAVES_A_GRID = {"transposed": True, "pixel_shuffle": True, "nearest": False, "bilinear": False}


def pattern_of(net: FaceAutoencoder) -> float:
    """Grey levels by which the middle of a picture varies though the code is the same everywhere."""
    plain = torch.randn(1, net.code_shape[0], 1, 1, generator=torch.Generator().manual_seed(0))
    code = plain.expand(1, *net.code_shape)
    with torch.inference_mode():
        middle = net.decoder(code)[0, :, 48:80, 48:80]
    return float(255 * middle.std(dim=(1, 2)).max())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_keeps_the_pictures_shape_and_is_smaller_than_mobilenet(architecture: Architecture) -> None:
    net = new_net(architecture, 1)
    assert net(torch.rand(2, 3, SIDE, SIDE)).shape == (2, 3, SIDE, SIDE)
    assert 30_000 < sum(p.numel() for p in net.parameters()) < 300_000


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_learnt_enlarging_draws_a_grid_on_a_plain_surface(architecture: Architecture) -> None:
    patterns = [pattern_of(new_net(architecture, seed)) for seed in range(3)]
    assert (np.min(patterns) > 0.3) if LEAVES_A_GRID[architecture] else (np.max(patterns) < 1e-3)


def test_the_grid_repeats_every_eight_pixels_as_three_doublings_make_it() -> None:
    net = new_net("transposed", 1)
    with torch.inference_mode():
        row = net.decoder(torch.ones(1, *net.code_shape))[0, 0, 64, 32:96].numpy()
    power = np.abs(np.fft.rfft(row - row.mean())) ** 2
    assert power[8::8].sum() > 0.999 * power.sum()


def test_equal_seeds_give_equal_weights_and_leave_torchs_own_randomness_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (new_net("nearest", seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["encoder.0.weight"], other["encoder.0.weight"])


def test_one_architecture_is_kept_for_validation() -> None:
    assert HELD_OUT in ARCHITECTURES


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_network_squeezes_a_face_into_as_many_numbers(architecture: Architecture) -> None:
    net = new_net(architecture, 1)
    assert net.encoder(torch.rand(1, 3, SIDE, SIDE)).shape[1:] == net.code_shape
    assert np.prod(net.code_shape) == CODE
