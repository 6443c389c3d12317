"""Train one face autoencoder: `python -m training.forgeries.reconstruct_train --data DIR --out FOLDER`.

Its purpose is to forge, so it is neither committed nor bundled: `--out` is a cache outside the repository. Started
again with the same `--out` it goes on where it was; `--minutes` counts all its runs together.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors.torch import save_file
from torch import Tensor

from training.augment import Degradation, degrade, draw_framing
from training.forgeries.reconstruct import MARGIN, weights_path
from training.forgeries.reconstruct_net import SIDE, Architecture, FaceAutoencoder, new_net
from training.portraits import Portrait, load_portraits

BATCH = 8
RATE = 2e-3  # Adam; falls to a tenth over the run
GRADIENT_WEIGHT = 1.0  # of the edges' error beside the pixels': without it the faces come out as fog
CHECK_EVERY = 100  # steps


@dataclass(slots=True)
class Run:
    """One network in training: its weights, its optimiser, and how far it is."""

    net: FaceAutoencoder
    optimiser: torch.optim.Adam
    step: int = 0
    seconds: float = 0.0

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]


def new_run(architecture: Architecture, seed: int) -> Run:
    """A run at its first step."""
    net = new_net(architecture, seed)
    return Run(net, torch.optim.Adam(net.parameters(), lr=RATE))


def advance(run: Run, batch: NDArray[np.uint8], done: float) -> float:
    """One step on `(B, 128, 128, 3)` uint8 RGB; `done` is the share of the run behind. Returns the loss."""
    for group in run.optimiser.param_groups:
        group["lr"] = RATE * 0.1**done
    pictures = to_tensor(batch)
    loss = reconstruction_loss(run.net(pictures), pictures)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    run.optimiser.step()
    run.step += 1
    return float(loss.detach())


def reconstruction_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute error of the values and of their differences to the next pixel, both ways."""
    error = made - wanted
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + GRADIENT_WEIGHT * edges


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """`(B, H, W, 3)` uint8 to `(B, 3, H, W)` float32 in [0, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def draw_batch(portraits: list[Portrait], seed: int, step: int) -> NDArray[np.uint8]:
    """`(B, 128, 128, 3)` uint8 faces, mirrored and misplaced by a little; the same for equal seed and step."""
    rng = np.random.default_rng([seed, step])
    picks = rng.integers(len(portraits), size=BATCH)
    return np.stack([_square(portraits[pick], draw_framing(rng)) for pick in picks])


@torch.inference_mode()
def psnr_db(net: FaceAutoencoder, portraits: list[Portrait]) -> float:
    """Mean peak signal-to-noise ratio over portraits, in dB; 20 is a likeness, 30 hard to tell from the picture."""
    errors = []
    for portrait in portraits:
        picture = to_tensor(_square(portrait, Degradation())[None])
        errors.append(float((net(picture).clamp(0, 1) - picture).square().mean()))
    return float(np.mean(-10 * np.log10(errors)))


def train(
    data: Path,
    out: Path,
    architecture: Architecture,
    seed: int,
    *,
    minutes: float,
    steps: int,
    boxes_file: Path | None = None,
) -> float:
    """Train, or go on training, and write the weights.

    Args:
        data: folder of the development data.
        out: for the checkpoint and the weights.
        architecture: how the network enlarges.
        seed: of the weights and of every batch.
        minutes: of training, all runs together.
        steps: at most; whichever ends first.
        boxes_file: cache of the face boxes; by default one in `out`.

    Returns:
        PSNR on the validation portraits in dB.
    """
    out.mkdir(parents=True, exist_ok=True)
    boxes = boxes_file or out / "boxes.json"
    train_faces, val_faces = (load_portraits(data, split, boxes) for split in ("train", "val"))
    run, checkpoint = new_run(architecture, seed), weights_path(out, architecture, seed).with_suffix(".pt")
    if checkpoint.exists():
        run.restore(torch.load(checkpoint, weights_only=True))
    began = time.monotonic() - run.seconds
    with _progress() as progress:
        task = progress.add_task(f"{architecture} {seed}", total=1.0, loss=float("nan"))
        while (done := max(run.seconds / 60 / minutes, run.step / steps)) < 1:
            loss = advance(run, draw_batch(train_faces, seed, run.step), done)
            run.seconds = time.monotonic() - began
            progress.update(task, completed=max(run.seconds / 60 / minutes, run.step / steps), loss=loss)
            if run.step % CHECK_EVERY == 0:
                torch.save(run.state(), checkpoint)
    torch.save(run.state(), checkpoint)
    write_weights(run.net, weights_path(out, architecture, seed))
    return psnr_db(run.net, val_faces)


def write_weights(net: FaceAutoencoder, path: Path) -> None:
    """Safetensors, readable by everyone."""
    save_file(net.state_dict(), path)
    path.chmod(0o644)


def _square(portrait: Portrait, how: Degradation) -> NDArray[np.uint8]:
    return degrade(portrait.rgb, portrait.box_xyxy, how, MARGIN, SIDE)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
    )


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train a small face autoencoder that forges training pictures.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the development data")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and weights; resumes what is there")
    parser.add_argument("--architecture", choices=get_args(Architecture), default="transposed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, all runs together")
    parser.add_argument("--steps", type=int, default=10_000, help="at most")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(0)
    quality = train(args.data, args.out, args.architecture, args.seed, minutes=args.minutes, steps=args.steps)
    print(f"{args.architecture}, seed {args.seed}: {quality:.1f} dB on the validation portraits")


if __name__ == "__main__":
    main()
