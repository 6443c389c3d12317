"""Content credentials through the running graph."""

import numpy as np
from numpy.typing import NDArray

from tests.media import still
from tests.service import Running
from tests.signed import identity, signed


def test_content_credentials_are_reported_beside_the_verdict(running: Running, portrait: NDArray[np.uint8]) -> None:
    plain = still(portrait)
    with_none, with_one = (running.post("/analyze", picture).json() for picture in (plain, signed(plain, identity())))
    assert with_none["credentials"]["status"] == "none"
    assert with_one["credentials"]["status"] == "valid"
    assert with_one["credentials"]["signer_trusted"] == "not_checked"
    assert with_one["credentials"]["source_types"] == ["trainedAlgorithmicMedia"]
    assert with_one["p_fake"] == with_none["p_fake"]
