"""The ImageNet weights to start from: google-coral's MobileNetV2 1.0, int8 in a tflite file, as float tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import tflite
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.detectors.mobilenet_sbi import MobileNetV2

FILE = Path("published/tf2_mobilenet_v2_1.0_224_ptq.tflite")
CLASSES = 1001  # class 0 is "background"


def imagenet_net(tflite_path: Path) -> tuple[MobileNetV2, Tensor, Tensor]:
    """MobileNetV2 with ImageNet weights.

    Args:
        tflite_path: `published/tf2_mobilenet_v2_1.0_224_ptq.tflite` of the development data.

    Returns:
        The network (its one-logit head still random), and the ImageNet classifier's `(1001, 1280)` weight and
        `(1001,)` bias.
    """
    weights = _convolutions(tflite_path.read_bytes())
    classifier_weight, classifier_bias = weights.pop()
    net = MobileNetV2()
    state = net.state_dict()
    names = [key.removesuffix(".weight") for key in state if key.endswith(".weight") and "head" not in key]
    for name, (weight, bias) in zip(names, weights, strict=True):
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    net.load_state_dict(state)
    return net, classifier_weight.flatten(1), classifier_bias


def _convolutions(model_bytes: bytes) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every convolution in the order of execution, which is the order of our modules."""
    model = tflite.Model.GetRootAsModel(model_bytes, 0)
    graph = model.Subgraphs(0)
    found = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind not in {tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D}:
            continue
        _, weight_at, bias_at = operator.InputsAsNumpy()
        weight = _dequantised(model, graph.Tensors(weight_at), np.int8)
        bias = _dequantised(model, graph.Tensors(bias_at), np.int32)
        depthwise = kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D
        # (1, H, W, C) and (O, H, W, I) to (O, I, H, W); depthwise has one input channel per output.
        weight = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
        found.append((torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy())))
    return found


def _dequantised(model: Any, tensor: Any, dtype: type[np.integer[Any]]) -> NDArray[np.float32]:
    """Integers times their scale; scales lie along the output channels, zero points are all 0."""
    shape = tensor.ShapeAsNumpy()
    integers = np.frombuffer(model.Buffers(tensor.Buffer()).DataAsNumpy(), dtype).reshape(shape)
    quantisation = tensor.Quantization()
    if np.any(quantisation.ZeroPointAsNumpy()):
        raise ValueError(f"{tensor.Name().decode()} has a zero point other than 0")
    scale = quantisation.ScaleAsNumpy().astype(np.float32)
    along = [1] * len(shape)
    along[quantisation.QuantizedDimension()] = len(scale)
    weight: NDArray[np.float32] = integers.astype(np.float32) * scale.reshape(along)
    return weight
