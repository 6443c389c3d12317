"""The networks that forge training pictures: trained once, used by every recipe."""

from pathlib import Path

from training.forgeries.reconstruct import weights_path
from training.forgeries.reconstruct_net import ARCHITECTURES
from training.forgeries.reconstruct_train import train
from training.recipes.recipe import Order

MINUTES = 17.0  # for each: nearest and bilinear are the slowest to learn eyes
SMOKE_STEPS = 4
NET_SEED = 1


def forging_nets(order: Order) -> Path:
    """The folder of one face autoencoder of each architecture; those that are not there are trained first."""
    folder = order.shared / "nets"
    for architecture in ARCHITECTURES:
        if not weights_path(folder, architecture, NET_SEED).exists():
            steps = SMOKE_STEPS if order.smoke else 10_000
            boxes = order.shared / "boxes.json"
            quality = train(order.data, folder, architecture, NET_SEED, minutes=MINUTES, steps=steps, boxes_file=boxes)
            print(f"{architecture}: {quality:.1f} dB on the validation portraits", flush=True)
    return folder
