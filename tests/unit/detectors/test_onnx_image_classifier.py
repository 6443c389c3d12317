"""Small ONNX graphs of the kinds people export, against numpy."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.detectors.contract import Recipe
from models.detectors.onnx_image_classifier import load, providers
from models.errors import CatalogueError, WeightsError
from models.types import View
from tests.checkpoints import assert_batch_invariant

SIZE = 16
RECIPE = Recipe("facenet", {}, View(region="frame", size=SIZE), labels=("real",), options={"output": "probabilities"})
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
# Averages of the channels, of a picture in [0, 1], to one output and to two.
WEIGHT, BIAS = np.array([[3.0], [-4.0], [2.0]], np.float32), np.array([-0.3], np.float32)
WEIGHT_2, BIAS_2 = np.array([[3.0, 1.0], [-4.0, 2.0], [2.0, -1.0]], np.float32), np.array([-0.3, 0.2], np.float32)


def graph(
    shape: Sequence[int | str],
    end: str = "Sigmoid",
    *,
    outputs: int = 1,
    dtype: int = TensorProto.FLOAT,
    domain: str = "",
    inputs: Sequence[str] = ("picture",),
) -> onnx.ModelProto:
    """A classifier of mean colours: pooling, one dense layer, and `end` (`Identity` gives logits)."""
    weight, bias = (WEIGHT, BIAS) if outputs == 1 else (WEIGHT_2, BIAS_2)
    axes = [1, 2] if shape[3] == 3 else [2, 3]
    nodes = [
        helper.make_node("Cast", [inputs[0]], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["pooled"], axes=axes, keepdims=0),
        helper.make_node("Gemm", ["pooled", "weight", "bias"], ["dense"]),
        helper.make_node(end, ["dense"], ["answer"], domain=domain),
    ]
    body = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info(name, dtype, shape) for name in inputs],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [shape[0], outputs])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    opsets = [helper.make_opsetid("", 13), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(body, opset_imports=opsets, ir_version=8)


def saved(model: onnx.ModelProto, folder: Path, recipe: Recipe = RECIPE) -> Recipe:
    path = folder / "weights.onnx"
    path.write_bytes(model.SerializeToString())
    return replace(recipe, files={"weights": path})


def pictures(count: int) -> NDArray[np.uint8]:
    tints = np.random.default_rng(23).integers(0, 256, (count, 1, 1, 3), np.uint8)
    return np.broadcast_to(tints, (count, SIZE, SIZE, 3))


def dense(rows: NDArray[np.uint8], weight: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = rows.astype(np.float64).mean((1, 2)) / 255 @ weight + bias
    return product


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


KERAS = ("n", SIZE, SIZE, 3)
TORCH = ("n", 3, SIZE, SIZE)
LOGITS = replace(RECIPE, labels=("real", "fake"), options={"output": "logits"})
SOFTMAX = replace(LOGITS, options={"output": "probabilities"})


def test_a_keras_sigmoid_of_real_becomes_a_logit_of_fake(tmp_path: Path) -> None:
    detector, rows = load(saved(graph(KERAS), tmp_path)), pictures(5)
    expected = dense(rows, WEIGHT, BIAS)
    features = detector.encode(rows)
    assert features == pytest.approx(sigmoid(expected), abs=1e-5)
    frames = detector.decide(features, np.arange(5.0)).per_frame_logits
    assert frames == pytest.approx(-expected[:, 0], abs=1e-5)


def test_two_logits_channels_first_with_mean_and_std(tmp_path: Path) -> None:
    recipe = replace(LOGITS, options={"output": "logits", "mean": MEAN, "std": STD})
    detector, rows = load(saved(graph(TORCH, "Identity", outputs=2), tmp_path, recipe)), pictures(5)
    expected = (rows.astype(np.float64).mean((1, 2)) / 255 - MEAN) / STD @ WEIGHT_2 + BIAS_2
    features = detector.encode(rows)
    assert features == pytest.approx(expected, abs=1e-5)
    frames = detector.decide(features, np.arange(5.0)).per_frame_logits
    assert frames == pytest.approx(expected[:, 1] - expected[:, 0], abs=1e-5)


def test_softmax_probabilities_give_the_logits_they_came_from(tmp_path: Path) -> None:
    detector, rows = load(saved(graph(TORCH, "Softmax", outputs=2), tmp_path, SOFTMAX)), pictures(5)
    expected = dense(rows, WEIGHT_2, BIAS_2)
    frames = detector.decide(detector.encode(rows), np.arange(5.0)).per_frame_logits
    assert frames == pytest.approx(expected[:, 1] - expected[:, 0], abs=1e-5)


def test_labels_turned_turn_the_score(tmp_path: Path) -> None:
    turned = replace(RECIPE, labels=("fake",))
    detector, rows = load(saved(graph(KERAS), tmp_path, turned)), pictures(3)
    frames = detector.decide(detector.encode(rows), np.arange(3.0)).per_frame_logits
    assert frames == pytest.approx(dense(rows, WEIGHT, BIAS)[:, 0], abs=1e-5)


def test_raw_pixels_go_to_a_graph_that_takes_bytes(tmp_path: Path) -> None:
    recipe = replace(RECIPE, options={"output": "logits"})
    detector = load(saved(graph(KERAS, "Identity", dtype=TensorProto.UINT8), tmp_path, recipe))
    assert detector.encode(pictures(3)) == pytest.approx(dense(pictures(3), WEIGHT * 255, BIAS), rel=1e-5)


@pytest.mark.parametrize("batch", ["n", 1, 3])
def test_a_clip_scores_the_same_in_every_batch_whatever_the_batch_of_the_graph(
    batch: int | str, tmp_path: Path
) -> None:
    detector = load(saved(graph((batch, SIZE, SIZE, 3)), tmp_path))
    assert_batch_invariant(detector, pictures(4))
    assert detector.encode(pictures(4)) == pytest.approx(sigmoid(dense(pictures(4), WEIGHT, BIAS)), abs=1e-5)


def test_no_rows_give_no_outputs(tmp_path: Path) -> None:
    assert load(saved(graph(KERAS), tmp_path)).encode(pictures(0)).shape == (0, 1)


def test_sides_that_the_graph_leaves_open_are_those_of_the_view(tmp_path: Path) -> None:
    detector = load(saved(graph(("n", "h", "w", 3)), tmp_path))
    assert detector.encode(pictures(1)).shape == (1, 1)


@pytest.mark.parametrize(
    ("model", "recipe", "named"),
    [
        (graph(("n", 32, 32, 3)), RECIPE, r"pictures of \[32, 32\], the view has the size 16"),
        (graph(KERAS, inputs=("picture", "mask")), RECIPE, "inputs picture, mask"),
        (graph(KERAS, dtype=TensorProto.DOUBLE), RECIPE, r"takes picture as tensor\(double\)"),
        (graph(KERAS, "Foo", domain="org.example"), RECIPE, "org.example:Foo"),
        (graph(KERAS), replace(RECIPE, labels=("real", "fake")), "1 outputs and 2 labels"),
        (graph(KERAS, "Identity"), RECIPE, "no probabilities"),
        (graph(TORCH, "Sigmoid", outputs=2), SOFTMAX, "no probabilities"),
    ],
)
def test_a_graph_that_is_not_what_the_row_says_is_refused_by_name(
    model: onnx.ModelProto, recipe: Recipe, named: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=named):
        load(saved(model, tmp_path, recipe))


def test_several_outputs_are_refused_by_name(tmp_path: Path) -> None:
    model = graph(KERAS)
    model.graph.output.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["n", 3]))
    with pytest.raises(WeightsError, match="outputs answer, pooled"):
        load(saved(model, tmp_path))


@pytest.mark.parametrize(
    ("shape", "options", "labels", "named"),
    [
        (KERAS, {}, ("real",), "output must be stated"),
        (KERAS, {"output": "softmax"}, ("real",), "output must be stated"),
        (KERAS, {"output": "probabilities", "size": 16}, ("real",), "no option size"),
        (KERAS, {"output": "probabilities"}, (), "labels must be stated"),
        (KERAS, {"output": "probabilities", "layout": "chw"}, ("real",), "layout is wrong"),
        (KERAS, {"output": "probabilities", "layout": "nchw"}, ("real",), "layout nchw contradicts"),
        (("n", "a", "b", "c"), {"output": "probabilities"}, ("real",), "layout is not told"),
        (KERAS, {"output": "probabilities", "mean": [0.5, 0.5]}, ("real",), "option mean"),
        (KERAS, {"output": "probabilities", "scale": "1/255"}, ("real",), "option scale"),
        (KERAS, {"output": "probabilities", "std": [0.5, 0.5, 0]}, ("real",), "option std"),
        (KERAS, {"output": "probabilities", "layout": ["nhwc"]}, ("real",), "layout is wrong"),
    ],
)
def test_an_option_that_is_missing_or_wrong_is_refused_by_name(
    shape: Sequence[int | str], options: dict[str, Any], labels: tuple[Any, ...], named: str, tmp_path: Path
) -> None:
    with pytest.raises(CatalogueError, match=named):
        load(saved(graph(shape), tmp_path, replace(RECIPE, options=options, labels=labels)))


def test_a_scale_for_a_graph_that_takes_bytes_is_refused(tmp_path: Path) -> None:
    recipe = replace(RECIPE, options={"output": "probabilities", "scale": 1.0})
    with pytest.raises(CatalogueError, match="scale would do nothing"):
        load(saved(graph(KERAS, dtype=TensorProto.UINT8), tmp_path, recipe))


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_a_truncated_file_is_refused(kept: float, tmp_path: Path) -> None:
    recipe = saved(graph(KERAS), tmp_path)
    content = recipe.weights.read_bytes()
    recipe.weights.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(WeightsError, match="cannot be read as ONNX"):
        load(recipe)


@pytest.mark.parametrize("content", [b"not onnx", b"PK\x03\x04", b"\x00" * 100])
def test_a_file_that_is_no_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    recipe = saved(graph(KERAS), tmp_path)
    recipe.weights.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as ONNX"):
        load(recipe)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read as ONNX"):
        load(replace(RECIPE, files={"weights": tmp_path / "absent.onnx"}))


@pytest.mark.parametrize("where", ["beside.bin", "../beside.bin"])
def test_weights_in_another_file_are_refused_by_its_name_even_where_it_exists(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (folder, tmp_path):
        (place / "beside.bin").write_bytes(WEIGHT.tobytes())
    monkeypatch.chdir(folder)
    model = graph(KERAS)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=where)
    with pytest.raises(WeightsError, match=r"beside\.bin"):
        load(saved(model, folder))


def test_a_gpu_without_a_provider_for_it_is_said_and_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(CatalogueError, match="has no CUDA, and the device is cuda:1"):
        providers(replace(RECIPE, device="cuda:1"))


def test_the_gpu_of_the_recipe_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert providers(replace(RECIPE, device="cuda:1"))[0] == ("CUDAExecutionProvider", {"device_id": 1, "use_tf32": 0})


def test_loading_and_scoring_say_nothing_on_any_stream(tmp_path: Path) -> None:
    recipe = saved(graph(KERAS), tmp_path)
    script = (
        "import numpy as np, pathlib\n"
        "from models.detectors.contract import Recipe\n"
        "from models.detectors.onnx_image_classifier import load\n"
        "from models.types import View\n"
        f"view = View(region='frame', size={SIZE})\n"
        f"files = {{'weights': pathlib.Path({str(recipe.weights)!r})}}\n"
        "recipe = Recipe('quiet', files, view, labels=('real',), options={'output': 'probabilities'})\n"
        f"load(recipe).encode(np.zeros((2, {SIZE}, {SIZE}, 3), np.uint8))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
