"""What follows the training of every recipe: fresh weights are measured as they would be served, and get a card.

Nothing of the project is changed. Figures and card lie with the run; whoever means to ship the weights copies them.
"""

from pathlib import Path

from models.detectors.catalogue import ModelRow, read_catalogue
from models.detectors.store import ROOT
from training.recipes.card import BEGIN, END, write_figures
from training.recipes.errors import TrainingError
from training.recipes.measure import Measurement, measured
from training.recipes.recipe import Order
from training.validation.plan import Which
from training.validation.write import Wanted, write

CARD, MEASURED = "card.md", "measured"
ROBUSTNESS_GROUPS = 30  # persons or speakers whose files are also degraded
SMOKE_PERSONS = 5
LOOKS: tuple[Which, ...] = ("clips", "pictures")
SOUND: tuple[Which, ...] = ("sound",)


def write_card(order: Order, name: str, weights: Path) -> Path:
    """Measure weights on the validation media, which are written first, and describe them.

    Args:
        order: of the run.
        name: of the catalogue's row.
        weights: safetensors as the detector loads them.

    Returns:
        The card: the prose of the row's own, with these figures.

    Raises:
        UnmaskError: the catalogue has no such row, or nothing could be measured.
    """
    row = _row(name)
    hears = row.view.region == "audio"
    folder = order.shared / ("validation-sound" if hears else "validation-faces")
    persons = SMOKE_PERSONS if order.smoke else 0
    wanted = Wanted(order.data, order.shared, folder, "val", SOUND if hears else LOOKS, persons)
    manifest = write(wanted, order.workers)
    measured(
        Measurement(
            id=name,
            weights=weights,
            manifest=manifest,
            out=order.out / MEASURED,
            split="val",
            name=folder.name,
            workers=max(1, order.workers),
            robustness_groups=0 if order.smoke else ROBUSTNESS_GROUPS,
        )
    )
    card = order.out / CARD
    card.write_text(_prose(row), "utf-8")
    write_figures(card, [order.out / MEASURED / "summary.json"])
    return card


def _row(name: str) -> ModelRow:
    """The catalogue's row, served or not."""
    row = read_catalogue().asset(name)
    if not isinstance(row, ModelRow):
        raise TrainingError(f"{name} is a tool of the catalogue, no detector.")
    return row


def _prose(row: ModelRow) -> str:
    """The row's own card; a heading and room for the figures where there is none."""
    text = (ROOT / row.card).read_text("utf-8") if row.card and (ROOT / row.card).exists() else f"# {row.id}\n"
    return text if BEGIN in text else f"{text}\n{BEGIN}\n\n{END}\n"
