import asyncio

import pytest

from models.errors import Overloaded
from serve_app.admission import Admission


async def hold(admission: Admission, until: asyncio.Event, entered: list[int], number: int) -> None:
    async with admission.turn():
        entered.append(number)
        await until.wait()


def test_some_run_some_wait_and_the_next_is_refused_at_once() -> None:
    async def scene() -> list[int]:
        admission, until, entered = Admission(running=2, waiting=1), asyncio.Event(), list[int]()
        tasks = [asyncio.create_task(hold(admission, until, entered, i)) for i in range(3)]
        await asyncio.sleep(0)
        assert entered == [0, 1]
        with pytest.raises(Overloaded):
            async with admission.turn():
                pass
        until.set()
        await asyncio.gather(*tasks)
        return entered

    assert asyncio.run(scene()) == [0, 1, 2]


def test_one_that_gives_up_waiting_frees_its_place() -> None:
    async def scene() -> None:
        admission, until, entered = Admission(running=1, waiting=1), asyncio.Event(), list[int]()
        first, second = (asyncio.create_task(hold(admission, until, entered, i)) for i in range(2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        third = asyncio.create_task(hold(admission, until, entered, 2))
        await asyncio.sleep(0)
        until.set()
        await asyncio.gather(first, third)
        assert entered == [0, 2]

    asyncio.run(scene())
