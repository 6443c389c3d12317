"""`python -m training.validation --data DIR --shared DIR --out DIR`: the files that detectors are measured on.

The shared folder is that of the recipes: it holds the face boxes, the networks that forge and the vocoders.
"""

import argparse
from pathlib import Path

import cv2
import torch

from training.validation.plan import WHICH
from training.validation.write import Wanted, write


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description="Write validation media and their manifest.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the development data")
    parser.add_argument(
        "--shared", type=Path, default=Path("training/runs/shared"), help="boxes.json, nets/ and vocoders/"
    )
    parser.add_argument("--out", type=Path, help="by default SHARED/validation-SPLIT")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--which", nargs="+", choices=tuple(WHICH), default=tuple(WHICH))
    parser.add_argument("--persons", type=int, default=0, help="only so many persons and speakers")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    out = args.out or args.shared / f"validation-{args.split}"
    wanted = Wanted(args.data, args.shared, out, args.split, tuple(args.which), args.persons)
    print(f"manifest: {write(wanted, args.workers)}")


if __name__ == "__main__":
    main()
