from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from training.datasets.items import Item, joined
from training.datasets.splits import by_groups, hash_split

NAMES = [f"person{i}" for i in range(4000)]


def test_a_hash_gives_every_split_its_share() -> None:
    shares = Counter(hash_split(name) for name in NAMES)
    assert [shares[split] / len(NAMES) for split in ("train", "val", "test")] == pytest.approx(
        [0.7, 0.15, 0.15], abs=0.02
    )


def test_a_group_stays_where_it_is_when_others_are_added() -> None:
    items = [Item(Path(f"{name}.mp4"), "real", name) for name in NAMES[:50]]
    assert by_groups(items)[:10] == by_groups(items[:10])


def test_another_seed_is_another_draw() -> None:
    assert [hash_split(name) for name in NAMES[:50]] != [hash_split(name, seed=1) for name in NAMES[:50]]


def test_a_split_that_takes_no_part_gets_nothing() -> None:
    assert {hash_split(name, shares={"train": 0.7, "val": 0.3}) for name in NAMES} == {"train", "val"}


def test_what_is_made_of_persons_of_two_splits_is_left_out() -> None:
    splits = {hash_split(name): name for name in NAMES}
    pair = Item(Path("a.mp4"), "fake", joined([splits["train"], splits["test"]]))
    alone = replace(pair, group=splits["train"])
    assert [item.split for item in by_groups([pair, alone])] == ["", "train"]
