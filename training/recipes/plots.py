"""What a training run looked like: loss and validation figures over its steps."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure


def draw_curves(path: Path, title: str, looks: Sequence[tuple[int, float, dict[str, float]]]) -> None:
    """Write a PNG with the loss above and every validation figure below, over the step.

    Args:
        path: of the file.
        title: above both.
        looks: step, mean loss since the look before, and figures by name.
    """
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    figure.suptitle(title)
    steps = [step for step, _, _ in looks]
    above.plot(steps, [loss for _, loss, _ in looks])
    above.set_ylabel("loss")
    for name in looks[0][2] if looks else ():
        below.plot(steps, [figures[name] for _, _, figures in looks], label=name, lw=2 if name == "auc" else 1)
    if looks:
        below.legend()
    below.set_xlabel("step")
    below.set_ylabel("validation")
    figure.savefig(path, dpi=90)
