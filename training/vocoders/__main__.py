"""Train the vocoders: `python -m training.vocoders --data DIR --out FOLDER`. Started again, it goes on."""

import argparse
from pathlib import Path

import torch

from training.vocoders.net import ARCHITECTURES
from training.vocoders.train import train


def main() -> None:
    """Read the command line and train one architecture after the other."""
    parser = argparse.ArgumentParser(description="Train small neural vocoders on the real speech of the training data.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the development data")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and weights; resumes what is there")
    parser.add_argument("--architecture", choices=ARCHITECTURES, nargs="+", default=ARCHITECTURES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=8.0, help="of training for each, all runs together")
    parser.add_argument("--steps", type=int, default=20_000, help="at most")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for architecture in args.architecture:
        loss = train(args.data, args.out, architecture, args.seed, minutes=args.minutes, steps=args.steps)
        print(f"{architecture}, seed {args.seed}: loss {loss:.3f}", flush=True)


if __name__ == "__main__":
    main()
