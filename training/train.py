"""Train `mobilenet-sbi` from ImageNet weights: `python -m training.train --data DIR --out DIR`.

One command does everything: face boxes, forging in worker processes, training, checkpoints, and the weights file.
Started again with the same `--out` it resumes. What is forged depends only on the seed and the step.
"""

import argparse
import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from models.detectors.mobilenet_sbi import MobileNetV2, to_input
from training.imagenet import FILE, imagenet_net
from training.pairs import ForgedPairs, batches, forged_pair
from training.portraits import load_portraits

BATCH_PAIRS = 12
BODY_RATE, HEAD_RATE = 3e-4, 1.5e-3  # AdamW; the head starts from nothing and may run ahead
WARM_UP = 100  # steps
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0  # what keeps training with folded batch norm stable
DROPOUT = 0.2  # of pooled features, MobileNetV2's own figure
EMA_DECAY = 0.998
DECAY_FROM = 2 / 3  # of the run; then the rate falls to 0 along a cosine
REPORT_EVERY, CHECK_EVERY = 25, 300  # steps
VAL_SEED = 7


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train: whichever ends first. The learning rate follows whichever is further along."""

    steps: int
    minutes: float

    def done(self, step: int, seconds: float) -> float:
        """Share of the run that is behind, 0 to 1."""
        return min(1.0, max(step / self.steps, seconds / 60 / self.minutes))


def rate_factor(done: float, step: int) -> float:
    """Factor on the learning rates: a short ramp, a plateau, and a cosine to 0 over the last third."""
    ramp = min(1.0, (step + 1) / WARM_UP)
    fall = max(0.0, (done - DECAY_FROM) / (1 - DECAY_FROM))
    return ramp * 0.5 * (1 + math.cos(math.pi * fall))


def train(data: Path, out: Path, budget: Budget, seed: int, workers: int) -> Path:
    """Train, or go on training, and write `out/mobilenet-sbi.safetensors`; returns its path."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    run = Run(data, seed)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        run.restore(torch.load(checkpoint, weights_only=True))
    pairs = ForgedPairs(data, out / "boxes.json", seed)
    val = val_crops(data, out / "boxes.json")
    began = time.monotonic() - run.seconds
    for batch in batches(pairs, BATCH_PAIRS, run.step, budget.steps, workers):
        done = budget.done(run.step, time.monotonic() - began)
        loss = run.advance(batch, rate_factor(done, run.step))
        run.seconds = time.monotonic() - began
        if run.step % REPORT_EVERY == 0:
            print(f"step {run.step}  {done:.1%}  {run.seconds:.0f} s  loss {loss:.4f}", flush=True)
        if run.step % CHECK_EVERY == 0 or done >= 1:
            print(f"step {run.step}  validation AUC {val_auc(run.ema, val):.4f}", flush=True)
            torch.save(run.state(), checkpoint)
            write_weights(run.ema, out / "mobilenet-sbi.safetensors")
        if done >= 1:
            break
    write_weights(run.ema, out / "mobilenet-sbi.safetensors")
    print(f"trained {run.step} steps of {BATCH_PAIRS} pairs in {run.seconds:.0f} s, seed {seed}", flush=True)
    return out / "mobilenet-sbi.safetensors"


class Run:
    """The state of one training run: network, its moving average, optimiser, and how far it is."""

    def __init__(self, data: Path, seed: int) -> None:
        self.net, _, _ = imagenet_net(data / FILE)
        torch.nn.init.normal_(self.net.head.weight, std=0.01, generator=torch.Generator().manual_seed(seed))
        torch.nn.init.zeros_(self.net.head.bias)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.net).eval()
        body = [p for name, p in self.net.named_parameters() if not name.startswith("head")]
        groups = [
            {"params": body, "full_rate": BODY_RATE},
            {"params": self.net.head.parameters(), "full_rate": HEAD_RATE},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=BODY_RATE, weight_decay=WEIGHT_DECAY)
        self.step = 0
        self.seconds = 0.0

    def advance(self, batch: Tensor, factor: float) -> float:
        """One step on `(B, 2, H, W, 3)` uint8 pairs; returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_rate"] * factor
        crops = batch.flatten(0, 1)
        labels = torch.tensor([0.0, 1.0]).repeat(len(batch))
        features = functional.dropout(self.net(to_input(crops)), DROPOUT)
        loss = functional.binary_cross_entropy_with_logits(self.net.head(features)[:, 0], labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP_NORM)
        self.optimiser.step()
        self.step += 1
        self._average()
        return float(loss.detach())

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))  # a fixed decay would keep the random head
        for mean, now in zip(self.ema.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]


def val_crops(data: Path, boxes_file: Path) -> NDArray[np.uint8]:
    """`(N, 2, 160, 160, 3)` uint8: one degraded pair of every validation portrait, the same in every run."""
    portraits = load_portraits(data, "val", boxes_file)
    return np.stack([forged_pair(p, np.random.default_rng([VAL_SEED, i])) for i, p in enumerate(portraits)])


@torch.inference_mode()
def logits_of(net: MobileNetV2, crops: NDArray[np.uint8], batch: int = 32) -> NDArray[np.float32]:
    """Logits `(N,)` of crops `(N, H, W, 3)` uint8 RGB."""
    parts = [crops[at : at + batch] for at in range(0, len(crops), batch)]
    return np.concatenate([net.head(net(to_input(torch.from_numpy(part))))[:, 0].numpy() for part in parts])


def val_auc(net: MobileNetV2, pairs: NDArray[np.uint8]) -> float:
    """Area under the ROC curve of `(N, 2, H, W, 3)` pairs, real then forged."""
    logits = logits_of(net, pairs.reshape(-1, *pairs.shape[2:]))
    return float(roc_auc_score(np.tile([0, 1], len(pairs)), logits))


def write_weights(net: MobileNetV2, path: Path) -> None:
    """Write safetensors in half precision: half the bytes, the same figures to three digits."""
    save_file({key: value.half().contiguous() for key, value in net.state_dict().items()}, path)
    path.chmod(0o644)  # safetensors writes files that only their owner may read


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train mobilenet-sbi on self-blended portraits.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the development data")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and weights; resumes what is there")
    parser.add_argument("--steps", type=int, default=4000, help="of 12 pairs each")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end after this much training time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="forging processes; 0 forges in this one")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(0)
    train(args.data, args.out, Budget(args.steps, args.minutes), args.seed, args.workers)


if __name__ == "__main__":
    main()
