"""Tests of drawing splits: shares, strata, groups, stability."""

from collections import Counter

import pytest

from mien.data.splits import DEFAULT_SHARES, draw_splits, join_groups

IDS = [f"{i:04d}" for i in range(1000)]
LABELS = ["fear" if i % 10 == 0 else "anger" for i in range(1000)]
ALONE = list(range(1000))


def test_every_label_is_spread_alike() -> None:
    splits = draw_splits(IDS, LABELS, ALONE, shares=DEFAULT_SHARES)
    assert Counter(zip(LABELS, splits, strict=True)) == {
        ("anger", "train"): 720,
        ("anger", "valid"): 90,
        ("anger", "test"): 90,
        ("fear", "train"): 80,
        ("fear", "valid"): 10,
        ("fear", "test"): 10,
    }


def test_order_does_not_matter_but_the_seed_does() -> None:
    splits = dict(zip(IDS, draw_splits(IDS, LABELS, ALONE, shares=DEFAULT_SHARES), strict=True))
    turned = draw_splits(IDS[::-1], LABELS[::-1], ALONE, shares=DEFAULT_SHARES)
    assert dict(zip(IDS[::-1], turned, strict=True)) == splits
    assert draw_splits(IDS, LABELS, ALONE, shares=DEFAULT_SHARES, seed=1) != list(splits.values())


def test_groups_stay_whole() -> None:
    groups = [i // 7 for i in range(1000)]
    splits = draw_splits(IDS, LABELS, groups, shares=DEFAULT_SHARES)
    assert all(len({s for s, g in zip(splits, groups, strict=True) if g == n}) == 1 for n in groups)
    counts = Counter(splits)
    assert abs(counts["valid"] - 100) < 10
    assert abs(counts["test"] - 100) < 10


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rare_emotions_are_learnt_first(count: int) -> None:
    assert set(
        draw_splits(IDS[:count], ["fear"] * count, ALONE[:count], shares=DEFAULT_SHARES)
    ) == {"train"}


def test_where_nobody_learns_no_part_stays_empty() -> None:
    labels = ["fear", "fear", "anger", "sadness", "neutral"]
    drawn = draw_splits(
        IDS[:5], labels, ALONE[:5], shares=dict.fromkeys(range(5), 1), first_learns=False
    )
    assert sorted(drawn) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("people", range(1, 9))
def test_few_people_leave_no_split_empty(people: int) -> None:
    """Each is the first of an emotion, which had better be learnt."""
    groups = [i % people for i in range(160)]
    labels = [f"label {(i % people + i // 40) % 8}" for i in range(160)]
    splits = draw_splits(IDS[:160], labels, groups, shares=DEFAULT_SHARES)
    assert len(set(splits)) == min(people, 3)
    assert len(set(zip(groups, splits, strict=True))) == people
    assert splits.count("train") >= splits.count("valid")


def test_shares_decide() -> None:
    splits = draw_splits(IDS, LABELS, ALONE, shares={"train": 9, "valid": 1})
    assert Counter(splits) == {"train": 900, "valid": 100}


def test_none_joins_nothing_and_keys_join_through_each_other() -> None:
    hashes = ["a", "a", None, None, "b"]
    people = [None, "x", "x", None, None]
    assert join_groups(5, hashes, people) == [0, 0, 0, 3, 4]
    assert join_groups(5, hashes, people, pairs=[(4, 3)]) == [0, 0, 0, 3, 3]


def test_few_samples_of_many_labels_leave_no_split_empty() -> None:
    labels = [f"label {i % 8}" for i in range(32)]
    splits = draw_splits(IDS[:32], labels, ALONE[:32], shares=DEFAULT_SHARES)
    assert Counter(splits) == {"train": 26, "valid": 3, "test": 3}
    learnt = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    assert learnt == set(labels)
