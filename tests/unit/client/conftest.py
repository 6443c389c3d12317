import pytest

from tests.unit.client.service import Played


@pytest.fixture(params=["sync", "async"])
def played(request: pytest.FixtureRequest) -> Played:
    return Played(request.param)
