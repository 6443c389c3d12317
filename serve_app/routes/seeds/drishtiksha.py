"""The Drishtiksha service. Its routes are the native ones; its Node client leaves out their first half.

That client's `analyzeVideo` posts to `/${analysisType}`, which may be `detailed`, `frames` or `visualize` (and only by
the last of these spellings knows that a film comes back). The other spelling, `analyze/detailed`, is used beside it.
"""

from fastapi import APIRouter

from serve_app.routes.analyze import KEYS, detailed, frames
from serve_app.routes.visualize import visualize

router = APIRouter(dependencies=KEYS, include_in_schema=False)
router.post("/detailed")(detailed)
router.post("/frames")(frames)
router.post("/visualize")(visualize)
