"""Any image classifier that was exported to ONNX, run by onnxruntime: Keras models among them, channels last and all.

What a graph cannot say is stated in the row's options: whether its outputs are logits or already probabilities, and
how pixels become its numbers. Whatever it does say (the input's type, layout and size) must agree with the row.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from models.detectors.contract import Recipe, Rows
from models.detectors.labels import EPSILON, fake_logits, logits_of
from models.detectors.mobilenet_sbi import trimmed_mean
from models.errors import CatalogueError, WeightsError
from models.types import ClipScore

LAYOUTS: dict[str, tuple[int, int, int]] = {"nhwc": (1, 2, 3), "nchw": (2, 3, 1)}  # where height, width, channels are
CHANNELS = 3
OUTPUTS = ("logits", "probabilities")
PIXELS = {"scale": 1 / 255, "mean": 0.0, "std": 1.0}  # of float inputs: (pixel * scale - mean) / std
FLOATS, RAW = "tensor(float)", "tensor(uint8)"  # what the graph may take
SUM_TOLERANCE = 1e-3  # by which the probabilities of half precision graphs miss 1


class OnnxImageClassifier:
    """The detector `onnx_image_classifier`; satisfies `models.detectors.contract.Detector`.

    The graph computes in its own precision, whatever the recipe's.
    """

    def __init__(self, session: Any, recipe: Recipe) -> None:
        (taken,) = session.get_inputs()
        self.view = recipe.view
        self._session = session
        self._labels = recipe.labels
        self._are_probabilities = recipe.options["output"] == "probabilities"
        self._name: str = taken.name
        self._takes_floats = taken.type == FLOATS
        self._layout = layout_of(taken.shape, recipe)
        self._batch = taken.shape[0] if isinstance(taken.shape[0], int) else 0
        self._pixels = [factor(recipe, name) for name in PIXELS]

    def encode(self, batch: Rows) -> NDArray[np.float32]:
        """`(N, H, W, 3)` uint8 RGB to `(N, C)` outputs of the graph, as they are, in the order of the labels."""
        step = self._batch or max(1, len(batch))
        parts = [self._run(batch[at : at + step], step) for at in range(0, len(batch), step)]
        return np.concatenate(parts) if parts else np.empty((0, len(self._labels)), np.float32)

    def decide(self, features: NDArray[np.float32], times_s: NDArray[np.float64]) -> ClipScore:
        """Score of one clip: the frames' logits, and their trimmed mean."""
        logits = fake_logits(self._logits(features), self._labels).astype(np.float32)
        return ClipScore(
            logit=trimmed_mean(logits),
            per_frame_logits=tuple(float(v) for v in logits),
            times_s=tuple(float(t) for t in times_s),
        )

    def check(self, path: Path) -> None:
        """Raises `WeightsError` unless one black picture gives what the labels and the option `output` promise."""
        black = np.zeros((1, self.view.size, self.view.size, 3), np.uint8)
        try:
            outputs = self.encode(black)
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise WeightsError(f"{path} cannot be run on one picture: {error}.") from error
        fake_logits(outputs, self._labels)
        if self._are_probabilities and not _is_distribution(outputs[0]):
            raise WeightsError(f"{path} gives {outputs[0].tolist()}, no probabilities.", "State `output: logits`.")

    def _run(self, rows: Rows, count: int) -> NDArray[np.float32]:
        """One call of the graph, with black pictures after the rows where its batch is fixed to more than they are."""
        filled = np.zeros((count, *rows.shape[1:]), rows.dtype)
        filled[: len(rows)] = rows
        (outputs,) = self._session.run(None, {self._name: self._input(filled)})
        return np.asarray(outputs, np.float32).reshape(count, -1)[: len(rows)]

    def _input(self, pixels: Rows) -> NDArray[Any]:
        numbers: NDArray[Any] = pixels
        if self._takes_floats:
            scale, mean, std = self._pixels
            numbers = (pixels * scale - mean) / std
        return np.ascontiguousarray(numbers.transpose(0, 3, 1, 2)) if self._layout == "nchw" else numbers

    def _logits(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self._are_probabilities:
            return outputs
        if len(self._labels) == 1:
            return logits_of(outputs).astype(np.float32)
        return np.log(np.maximum(outputs, EPSILON))  # a softmax undone, but for a constant that cancels out


def load(recipe: Recipe) -> OnnxImageClassifier:
    """Build the detector from one ONNX file that holds its own weights.

    Options: `output` (`logits` or `probabilities`, always stated), `layout` (`nhwc` or `nchw`, where the input's shape
    does not tell), and `scale`, `mean`, `std` for inputs of floats: pixels of 0 to 255 become
    `(pixel * scale - mean) / std`, with 1/255, 0 and 1 unless stated; mean and std are one number or three.

    Raises:
        WeightsError: the file cannot be read, needs other files or operators, has another input than one batch of
            pictures of `view.size`, or its outputs are not what labels and options say.
        CatalogueError: an option is unknown, wrong or missing, or the device has no provider.
    """
    check_options(recipe)
    session = open_session(recipe)
    check_graph(session, recipe)
    detector = OnnxImageClassifier(session, recipe)
    detector.check(recipe.weights)
    return detector


def check_options(recipe: Recipe) -> None:
    """Raises `CatalogueError` naming an option that is unknown or wrong, or the labels where there are none."""
    recipe.accept_options("output", "layout", *PIXELS)
    if recipe.options.get("output") not in OUTPUTS:
        raise CatalogueError(f"{recipe.id}: the option output must be stated.", f"It is {' or '.join(OUTPUTS)}.")
    if recipe.options.get("layout", "nhwc") not in tuple(LAYOUTS):
        raise CatalogueError(f"{recipe.id}: the option layout is wrong.", f"It is {' or '.join(LAYOUTS)}.")
    if not recipe.labels:
        raise CatalogueError(f"{recipe.id}: labels must be stated.", "An ONNX file does not say which output is fake.")


def check_graph(session: Any, recipe: Recipe) -> None:
    """Raises `WeightsError` unless the graph takes one batch of pictures of `view.size` and gives one array."""
    path, inputs, outputs = recipe.weights, session.get_inputs(), session.get_outputs()
    for arrays, what in ((inputs, "inputs"), (outputs, "outputs")):
        if len(arrays) != 1:
            raise WeightsError(f"{path} has the {what} {', '.join(a.name for a in arrays)}.", "It must have one.")
    taken = inputs[0]
    if taken.type not in {FLOATS, RAW}:
        raise WeightsError(f"{path} takes {taken.name} as {taken.type}.", f"Accepted: {FLOATS}, {RAW}.")
    if taken.type == RAW and (given := sorted(set(PIXELS) & set(recipe.options))):
        raise CatalogueError(f"{recipe.id}: the graph takes raw pixels; {', '.join(given)} would do nothing.")
    if len(taken.shape) != 4:  # noqa: PLR2004 - batch, channels, height, width
        raise WeightsError(f"{path} takes {taken.name} of shape {taken.shape}.", "It must be a batch of pictures.")
    height, width, _ = LAYOUTS[layout_of(taken.shape, recipe)]
    sides = [taken.shape[axis] for axis in (height, width)]
    if any(isinstance(side, int) and side != recipe.view.size for side in sides):
        raise WeightsError(f"{path} takes pictures of {sides}, the view has the size {recipe.view.size}.")


def layout_of(shape: Sequence[int | str | None], recipe: Recipe) -> str:
    """Which axis holds the channels; raises `CatalogueError` where neither shape nor option tells, or they differ."""
    axes = {layout: shape[channels] for layout, (*_, channels) in LAYOUTS.items()}
    stated = recipe.options.get("layout")
    if stated and (axes[stated] == CHANNELS or not isinstance(axes[stated], int)):
        return str(stated)
    told = [layout for layout, length in axes.items() if length == CHANNELS]
    if stated is None and len(told) == 1:
        return told[0]
    said = f"the layout {stated} contradicts" if stated else "the layout is not told by"
    raise CatalogueError(f"{recipe.id}: {said} the input's shape {list(shape)}.", f"It is {' or '.join(LAYOUTS)}.")


def factor(recipe: Recipe, name: str) -> NDArray[np.float32]:
    """An option of one number, or three for red, green and blue; raises `CatalogueError` if it is neither."""
    value = recipe.options.get(name, PIXELS[name])
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise CatalogueError(f"{recipe.id}: the option {name} is {value!r}.", "One number, or three.") from error
    if array.shape not in {(), (3,)} or not np.isfinite(array).all():
        raise CatalogueError(f"{recipe.id}: the option {name} is {value!r}.", "One number, or three.")
    if name == "std" and not array.all():
        raise CatalogueError(f"{recipe.id}: the option std is {value!r}.", "Pixels are divided by it.")
    return array


def open_session(recipe: Recipe) -> Any:
    """A session over the file's bytes, on the recipe's device; raises as `load`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is fatal; errors are raised as well
    options.use_deterministic_compute = True
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait leave the cores alone
    # The row's hash covers this one file. Arrays in files beside it are refused: nothing lies in a folder below a file.
    nowhere = str(recipe.weights / "nowhere")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", nowhere)
    wanted = providers(recipe)
    try:
        session = onnxruntime.InferenceSession(recipe.weights.read_bytes(), options, providers=wanted)
    except Exception as error:  # onnxruntime's errors share no base class of their own
        raise WeightsError(f"{recipe.weights} cannot be read as ONNX: {error}.") from error
    if session.get_providers()[0] != wanted[0][0]:  # it falls back to the CPU without a word
        raise CatalogueError(f"{recipe.id}: onnxruntime could not start {wanted[0][0]} on {recipe.device}.")
    return session


def providers(recipe: Recipe) -> list[tuple[str, dict[str, int]]]:
    """The providers for a device; raises `CatalogueError` if the installed build has none for it."""
    kind, _, index = recipe.device.partition(":")
    on_cpu: tuple[str, dict[str, int]] = ("CPUExecutionProvider", {})
    if kind == "cpu":
        return [on_cpu]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise CatalogueError(
            f"{recipe.id}: the installed onnxruntime has no CUDA, and the device is {recipe.device}.",
            "Install onnxruntime-gpu, or set the row's num_gpus to 0.",
        )
    return [("CUDAExecutionProvider", {"device_id": int(index or 0), "use_tf32": 0}), on_cpu]


def _is_distribution(outputs: NDArray[np.float32]) -> bool:
    within = bool(np.all((outputs >= 0) & (outputs <= 1)))
    return within and (len(outputs) == 1 or abs(float(outputs.sum()) - 1) < SUM_TOLERANCE)
