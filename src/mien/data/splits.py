"""Dividing samples into train, valid and test: the same way every time, and without leaks."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from mien.data.clips import clip_of
from mien.records import Split

__all__ = [
    "DEFAULT_SHARES",
    "FLATTEST",
    "Groups",
    "draw_splits",
    "drawn_by",
    "join_groups",
    "version_of",
]

DEFAULT_SHARES: Mapping[Split, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}

FLATTEST: Final = 4.0
"""Standard deviation, in grey levels of 0 to 255, below which a picture shows nothing.

Such pictures are alike whoever was in front of the camera: that two are equal joins nobody.
"""

_VERSION: Final = re.compile(r"(?:.*/)?((?:[^/]+/)?[^/]+)\.rf\.[0-9A-Za-z]{8,}\.\w+(?:#\d+)?")

Part = TypeVar("Part", bound=Hashable)


def draw_splits(
    ids: Sequence[str],
    labels: Sequence[str | None],
    groups: Sequence[Hashable],
    *,
    shares: Mapping[Part, float],
    first_learns: bool = True,
    seed: int = 0,
) -> list[Part]:
    """Give each sample a split, so that every label is spread alike and no group is torn apart.

    Groups come label by label, the rarest first, and within a label in an order that depends on
    their ids and the seed alone, so neither the order of the rows nor the machine matters. Each
    goes where most is lacking by then; so every label is spread alike but for rounding, and what
    one label's rounding leaves, the next makes good.

    Args:
        ids: a stable id for each sample, see `drawn_by`.
        labels: the label of each; None counts as a label of its own.
        groups: samples with equal values stay together: one person, copies of one picture.
        shares: how much each split gets; what they are divided by does not matter.
        first_learns: of every label the first named split gets the first group: an emotion had
            better be learnt. No split that is due a sample is empty unless there are fewer groups
            than splits.
        seed: another seed, another draw.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    strata: dict[str, list[tuple[str, list[int]]]] = defaultdict(list)
    for rows in members.values():
        most_common = Counter(labels[i] for i in rows).most_common()
        label = min((name or "" for name, n in most_common if n == most_common[0][1]))
        first = min(ids[i] for i in rows)
        strata[label].append((hashlib.sha256(f"{seed}/{first}".encode()).hexdigest(), rows))

    whole = sum(shares.values())
    learns = next(part for part in shares if shares[part])
    placed: dict[Part, list[tuple[str, list[int]]]] = {part: [] for part in shares}
    given: Counter[Part] = Counter()
    for _, stratum in sorted(strata.items(), key=lambda item: (len(item[1]), item[0])):
        for number, (order, rows) in enumerate(sorted(stratum)):
            due = given.total() + len(rows)
            lacking = max(shares, key=lambda part: shares[part] / whole * due - given[part])
            chosen = learns if first_learns and number == 0 else lacking
            given[chosen] += len(rows)
            placed[chosen].append((order, rows))
    for part in shares:
        wanted = shares[part] / whole * len(ids)
        if wanted >= 1 and not placed[part]:
            _fill(placed, part, wanted)
    split = {i: part for part, of in placed.items() for _, rows in of for i in rows}
    return [split[i] for i in range(len(ids))]


def _fill(placed: Mapping[Part, list[tuple[str, list[int]]]], part: Part, wanted: float) -> None:
    """Move the group whose size fits best to an empty split, from where there are most groups.

    Few people, each of another label, would all be the first to learn from.
    """
    most = max(placed.values(), key=len)
    if len(most) > 1:
        best = min(most, key=lambda group: (abs(len(group[1]) - wanted), group[0]))
        most.remove(best)
        placed[part].append(best)


def drawn_by(ids: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Return by what samples are drawn: their ids, or the video that they are pictures of.

    Which pictures of it there are must not matter, or sets that differ in that hold out others.
    """
    return [clip_of(path) or name for name, path in zip(ids, paths, strict=True)]


def version_of(path: str) -> str | None:
    """Return what a picture is one of: its video, or what an augmented copy was made of.

    Copies are named as Roboflow does (``a_jpg.rf.HASH.jpg``). With their folder: other pictures may
    have that name in others.
    """
    match = _VERSION.fullmatch(path)
    return match[1] if match else clip_of(path)


class Groups:
    """Numbers that are joined, one by one, into groups.

    Args:
        count: how many numbers there are, from 0; each begins as a group of its own.
    """

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, i: int) -> int:
        """Return the smallest number in the group of ``i``."""
        parent = self._parent
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Make one group of two."""
        first, second = sorted((self.root(i), self.root(j)))
        self._parent[second] = first


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
    groups = Groups(count)
    for column in keys:
        first: dict[Hashable, int] = {}
        for i, key in enumerate(column):
            if key is not None:
                groups.join(i, first.setdefault(key, i))
    for i, j in pairs:
        groups.join(i, j)
    return [groups.root(i) for i in range(count)]
