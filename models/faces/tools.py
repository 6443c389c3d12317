"""Which face finder and which landmarks are used: small, and sent to every replica."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import CatalogueError
from models.types import View

if TYPE_CHECKING:
    from models.faces.find import Finder
    from models.faces.landmarks import Landmarks


@dataclass(frozen=True, slots=True)
class FaceTools:
    """Files of the tools that find faces.

    Attributes:
        yunet: None for dlib's HOG detector, which needs no file.
        landmarks: the predictor of 68 points; None to cut `landmarks` views around the face box.
    """

    yunet: Path | None = None
    landmarks: Path | None = None

    def finder(self) -> "Finder":
        """A new finder, for one thread; raises `WeightsError` if its file is wrong."""
        from models.faces.find import FaceFinder  # noqa: PLC0415 - loads dlib, which readers of settings do without
        from models.faces.yunet import YuNetFinder  # noqa: PLC0415

        return FaceFinder() if self.yunet is None else YuNetFinder(self.yunet)

    def predictor(self) -> "Landmarks | None":
        """The predictor of 68 points, if there is a file; raises `WeightsError` if it is wrong."""
        from models.faces.landmarks import Landmarks  # noqa: PLC0415

        return None if self.landmarks is None else Landmarks(self.landmarks)

    def check(self, view: View, of: str = "the view") -> None:
        """Raises `CatalogueError`, naming `of`, if a view needs points of the face that the finder does not give."""
        if self.yunet is None and view.region == "face" and view.align == "five_points":
            raise CatalogueError(
                f"{of} has `align: five_points`, and UNMASK_FACE_FINDER is hog, which gives no points of a face.",
                "Run `unmask models pull yunet` and set UNMASK_FACE_FINDER=yunet.",
            )
