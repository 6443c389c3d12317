from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.detectors.mobilenet_sbi import to_input
from training.imagenet import FILE, imagenet_net
from training.portraits import read_rgb

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the development data is not at {DATA}")


@needs_data
def test_the_dequantised_network_knows_a_military_uniform() -> None:
    net, weight, bias = imagenet_net(DATA / FILE)
    rgb = read_rgb(DATA / "published" / "grace_hopper.bmp")
    crop = cv2.resize(rgb, (224, 224), interpolation=cv2.INTER_AREA)
    batch = torch.from_numpy(np.asarray(crop, np.uint8)[None])
    with torch.inference_mode():
        probabilities = (net(to_input(batch)) @ weight.T + bias).softmax(1)[0]
    assert int(probabilities.argmax()) == 653
    assert float(probabilities[653]) == pytest.approx(0.87, abs=0.05)


@needs_data
def test_every_weight_comes_from_the_file_except_the_head() -> None:
    nets = [imagenet_net(DATA / FILE)[0].state_dict() for _ in range(2)]
    differing = {key for key in nets[0] if not torch.equal(nets[0][key], nets[1][key])}
    assert differing <= {"head.weight", "head.bias"}
