"""What several annotators say of a face."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from mien.labels import EMOTIONS

__all__ = ["NO_MAJORITY", "most_voted", "shares_of", "vote_shares"]

NO_MAJORITY: Final = "no emotion has the most votes"


def shares_of(counts: Sequence[float]) -> tuple[float, ...]:
    """Return each count's share of all, or nothing where nobody voted."""
    whole = sum(counts)
    return tuple(count / whole for count in counts) if 0 < whole < math.inf else ()


def vote_shares(counts: Mapping[str | None, int]) -> tuple[float, ...]:
    """Return the share of the votes that each of mien's emotions has, in their order.

    Args:
        counts: of each emotion; None: votes for none, which do not count.
    """
    return shares_of([counts.get(emotion, 0) for emotion in EMOTIONS])


def most_voted(votes: Sequence[float]) -> str | None:
    """Return the emotion that has more votes than any other, or None."""
    if not votes or votes.count(max(votes)) > 1:
        return None
    return EMOTIONS[votes.index(max(votes))]
