import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.detectors.device import Device, to_float
from models.detectors.weights import fill
from models.errors import WeightsError
from tests.checkpoints import PUBLISHED

ROWS = np.arange(40, dtype=np.uint8).reshape(10, 4)


def test_rows_cross_to_the_device_once_and_as_they_are() -> None:
    seen: list[Tensor] = []

    def forward(rows: Tensor) -> Tensor:
        seen.append(rows)
        return rows.float()

    features = Device("cpu").encode(forward, ROWS)
    assert [(rows.dtype, len(rows)) for rows in seen] == [(torch.uint8, 10)]
    assert features.dtype == np.float32
    assert np.array_equal(features, ROWS)


@pytest.mark.parametrize("most", [1, 3, 9])
def test_batches_halve_until_they_fit_in_memory(most: int) -> None:
    sizes: list[int] = []

    def forward(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        if len(rows) > most:
            raise torch.OutOfMemoryError
        return rows.float()

    assert np.array_equal(Device("cpu").encode(forward, ROWS), ROWS)
    assert sizes[0] == 10
    assert sum(size for size in sizes if size <= most) == 10


def test_a_row_that_does_not_fit_alone_is_the_error_it_is() -> None:
    def forward(_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        Device("cpu").encode(forward, ROWS)


def test_half_precision_differs_a_little_and_gives_single_precision_features() -> None:
    torch.manual_seed(1)
    net = nn.Linear(4, 8)
    rows = np.random.default_rng(1).random((10, 4), np.float32)
    exact = Device("cpu").encode(Device("cpu").place(net), rows)
    rough = Device("cpu", "bf16").encode(net, rows)
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.02


def test_a_network_on_its_device_learns_nothing_and_drops_nothing() -> None:
    net = Device("cpu").place(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(0.5)), channels_last=True)
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_pictures_are_normalised_with_channels_last_in_memory() -> None:
    pixels = torch.full((2, 5, 6, 3), 255, dtype=torch.uint8)
    mean, std = torch.tensor([0.5, 0.25, 0.0]).view(3, 1, 1), torch.tensor([0.5, 0.5, 2.0]).view(3, 1, 1)
    found = to_float(pixels, 1 / 255, mean, std)
    assert found.shape == (2, 3, 5, 6)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found[0, :, 0, 0].tolist() == pytest.approx([1.0, 1.5, 0.5])


def test_a_renamed_key_is_named_together_with_what_stands_in_its_place() -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    state = {"0.weight": torch.zeros(2, 2), "0.beta": torch.zeros(2)}
    with pytest.raises(WeightsError, match=r"lacks the key 0\.bias\. It has 0\.beta instead"):
        fill(net, state, PUBLISHED / "x.safetensors")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    rows = np.random.default_rng(1).integers(0, 256, (10, 8, 8, 3), np.uint8)

    def encode(device: Device) -> np.ndarray:
        placed = device.place(net, channels_last=True)
        return device.encode(lambda batch: placed(to_float(batch, 1 / 255, 0.5, 0.5)), rows)

    assert encode(Device("cpu")) == pytest.approx(encode(Device("cuda")), abs=1e-4)
