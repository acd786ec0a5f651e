"""Dividing samples into train, valid and test: the same way every time, and without leaks."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

from mien.records import SPLITS, Split

__all__ = ["DEFAULT_SHARES", "draw_splits", "join_groups"]

DEFAULT_SHARES: Mapping[Split, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}


def draw_splits(
    ids: Sequence[str],
    labels: Sequence[str | None],
    groups: Sequence[Hashable],
    *,
    shares: Mapping[Split, float] = DEFAULT_SHARES,
    seed: int = 0,
) -> list[Split]:
    """Give each sample a split, so that every label is spread alike and no group is torn apart.

    A group goes where its label lacks most. Groups come in an order that depends on their ids
    and the seed alone, so neither the order of the rows nor the machine matters.

    Args:
        ids: a stable id for each sample.
        labels: the label of each; None counts as a label of its own.
        groups: samples with equal values stay together: one person, copies of one picture.
        shares: how much each split gets; what they are divided by does not matter.
        seed: another seed, another draw.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    strata: dict[str | None, list[tuple[str, list[int]]]] = defaultdict(list)
    for rows in members.values():
        most_common = Counter(labels[i] for i in rows).most_common()
        label = min((name or "" for name, n in most_common if n == most_common[0][1]))
        first = min(ids[i] for i in rows)
        strata[label].append((hashlib.sha256(f"{seed}/{first}".encode()).hexdigest(), rows))

    whole = sum(shares.values())
    split: list[Split] = ["train"] * len(ids)
    for stratum in strata.values():
        given: Counter[str] = Counter()
        for _, rows in sorted(stratum):
            # SPLITS begins with train: where two lack alike, an emotion had better be learnt.
            due = sum(given.values()) + len(rows)
            chosen = max(SPLITS, key=lambda s: shares.get(s, 0.0) / whole * due - given[s])
            given[chosen] += len(rows)
            for i in rows:
                split[i] = chosen
    return split


def join_groups(
    count: int, *keys: Iterable[Hashable | None], pairs: Iterable[tuple[int, int]] = ()
) -> list[int]:
    """Number the groups that come of joining samples wherever any of their keys agree.

    Args:
        count: how many samples there are.
        keys: each gives one value a sample; None joins nothing.
        pairs: samples to be joined besides.

    Returns:
        For each sample the smallest index in its group.
    """
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(i: int, j: int) -> None:
        a, b = sorted((root(i), root(j)))
        parent[b] = a

    for column in keys:
        first: dict[Hashable, int] = {}
        for i, key in enumerate(column):
            if key is not None:
                join(i, first.setdefault(key, i))
    for i, j in pairs:
        join(i, j)
    return [root(i) for i in range(count)]
