"""The recipes there are. A module is read when its recipe is asked for: several load libraries of their own."""

from importlib import import_module
from importlib.util import find_spec

from training.recipes.errors import TrainingError
from training.recipes.recipe import Recipe

MODULES = {  # by the id of the catalogue's row; each holds a `Recipe` of that id
    "mobilenet-sbi-v1": "training.recipes.mobilenet_sbi",
    "siglip-lstm-v1": "training.recipes.siglip_lstm",
    "siglip-lstm-v3": "training.recipes.siglip_lstm",
    "color-cues-lstm-v1": "training.recipes.color_cues",
    "voice-v1": "training.recipes.voice",
}


def known() -> tuple[str, ...]:
    """The ids of all recipes, in the order of the table."""
    return tuple(name for name, module in MODULES.items() if find_spec(module))


def recipe(name: str) -> Recipe:
    """The recipe of one catalogue id.

    Raises:
        TrainingError: there is none; the known ones are named.
    """
    if name not in known():
        raise TrainingError(f"There is no recipe {name}.", f"Known are: {', '.join(known())}.")
    module = import_module(MODULES[name])
    return next(of for of in vars(module).values() if isinstance(of, Recipe) and of.id == name)
