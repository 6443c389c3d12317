"""Splits by group, for data that comes without: by a hash, so that adding files moves none of the others."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from training.datasets.items import Item, Split

SHARES: Mapping[Split, float] = {"train": 0.7, "val": 0.15, "test": 0.15}


def hash_split(group: str, seed: int = 0, shares: Mapping[Split, float] = SHARES) -> Split:
    """The split of a group: always the same for the same name, seed and shares.

    Args:
        group: its name.
        seed: another seed is another draw.
        shares: of the splits that take part; they need not add up to 1.
    """
    digest = hashlib.sha256(f"{seed}/{group}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64 * sum(shares.values())
    for split, share in shares.items():
        if place < share:
            return split
        place -= share
    return split


def by_groups(items: Iterable[Item], seed: int = 0, shares: Mapping[Split, float] = SHARES) -> tuple[Item, ...]:
    """The items, each in the split that all its groups are in.

    Where the groups of one item are in different splits it is left out (an empty split): in either it would show a
    person of the other.
    """
    return tuple(replace(item, split=_common(item, seed, shares)) for item in items)


def _common(item: Item, seed: int, shares: Mapping[Split, float]) -> Split:
    splits = {hash_split(group, seed, shares) for group in item.groups}
    return splits.pop() if len(splits) == 1 else ""
