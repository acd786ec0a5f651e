"""Keeping one face's reading steady over time, with a bound on how late a change shows.

The probabilities are the mean of the last `WINDOW` seconds. A window, unlike a decaying average,
forgets: after one window and one frame nothing of the old expression is left. The name changes only
once another emotion is `LEAD` times as probable, so that two that are about level do not take turns
(hysteresis), or once it has been the most probable for `PATIENCE`, so that no name stays wrong. At
10 frames a second and above, a lasting change to an emotion that is read `LEAD` times as probable
as the old one is therefore named within 0.3 seconds, any other within 1.3. Knows nothing of images.
"""

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAD", "PATIENCE", "WINDOW", "Steady"]

WINDOW: Final = 0.2
"""Seconds."""

LEAD: Final = 1.6
"""Chosen by ``benchmarks.steadiness``: with 1.3, names change twice as often; with 2, more changes
would be too slight to be told."""

PATIENCE: Final = 1.0
"""Seconds without a break."""

_TOLERANCE: Final = 1e-3
"""Time stamps are rounded: a frame exactly one window old still counts, a lead exactly as long as
`PATIENCE` is long enough."""


class Steady:
    """The steadied reading of one face. For one thread at a time."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, NDArray[np.float64]]] = deque()
        self._named: int | None = None
        self._leader = -1
        self._leads_since = 0.0

    def update(
        self, time_s: float, probabilities: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], int]:
        """Take in what a frame shows and return what to tell.

        Args:
            time_s: seconds, never less than the time before.
            probabilities: (labels,), summing to 1.

        Returns:
            The mean probabilities, (labels,), and the index of the label to name.
        """
        self._recent.append((time_s, probabilities))
        while self._recent[0][0] < time_s - WINDOW - _TOLERANCE:
            self._recent.popleft()
        mean = np.mean([row for _, row in self._recent], axis=0)
        best = int(mean.argmax())
        if best != self._leader:
            self._leader, self._leads_since = best, time_s
        lasts = time_s - self._leads_since >= PATIENCE - _TOLERANCE
        if self._named is None or lasts or mean[best] >= LEAD * mean[self._named]:
            self._named = best
        return mean, self._named
