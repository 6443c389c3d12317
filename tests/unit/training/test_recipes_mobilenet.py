import pytest
import torch

from models.detectors.mobilenet_sbi import MobileNetV2
from training.recipes.mobilenet_sbi import SECOND_WEIGHT, averaged


def filled(value: float) -> MobileNetV2:
    net = MobileNetV2()
    net.load_state_dict({key: torch.full_like(tensor, value) for key, tensor in net.state_dict().items()})
    return net


def test_every_weight_of_the_average_lies_nearer_the_second_network() -> None:
    state = averaged(filled(0.0), filled(2.0)).state_dict()
    values = [float(edge) for tensor in state.values() for edge in (tensor.min(), tensor.max())]
    assert values == pytest.approx([2 * SECOND_WEIGHT] * len(values))


def test_averaging_leaves_both_networks_as_they_were() -> None:
    first, second = filled(0.0), filled(2.0)
    averaged(first, second)
    assert float(first.state_dict()["head.weight"].max()) == 0
    assert float(second.state_dict()["head.weight"].min()) == 2
