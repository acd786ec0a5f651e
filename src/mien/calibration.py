"""Making a model's confidence mean what it says: one temperature for all of its answers.

Temperature scaling divides the logits by one number, fitted to held-out images (Guo et al. 2017,
arXiv:1706.04599). It changes how sure a model is and never what it answers.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.metrics import negative_log_likelihood

__all__ = ["COLDEST", "HOTTEST", "fit_temperature", "fit_tilt"]

COLDEST: Final = 0.05
HOTTEST: Final = 20.0
"""Temperatures stay between: on a model that is never wrong the best one would be 0."""

_HALVINGS: Final = 60


def fit_temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """Return the temperature with the lowest mean negative log-likelihood.

    The likelihood is concave in the inverse temperature, so halving the interval in which its
    derivative changes sign finds the one best value.

    Args:
        logits: (n, k), finite; n at least 1.
        labels: (n,), 0..k-1.
    """
    scores = logits.astype(np.float64)
    own = scores[np.arange(len(labels)), labels]
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = (_softmax(scores * middle) * scores).sum(axis=1)
        if (expected - own).mean() <= 0:
            low = middle
        else:
            high = middle
    return float(2 / (low + high))


def fit_tilt(
    logits: NDArray[np.floating[Any]], labels: NDArray[np.int64], tilt: NDArray[np.float64]
) -> tuple[float, float]:
    """Find how much of a tilt is left in logits, and the temperature without it.

    Where training counted some emotions more than by their number, it added up to the logarithm of
    that to their logits: all of it where labels are sure, nothing where each image tells its own
    distribution. What is left is found by likelihood, in tenths.

    Args:
        logits: (n, k), finite; n at least 1.
        labels: (n,), 0..k-1.
        tilt: (k,), what training may have added.

    Returns:
        The share of the tilt that is left, 0..1, and the temperature of the logits less that.
    """

    def fitted(share: float) -> tuple[float, float, float]:
        level = logits - share * tilt
        temperature = fit_temperature(level, labels)
        loss = negative_log_likelihood(_softmax(level / temperature), labels)
        return loss, share, temperature

    _, share, temperature = min(fitted(tenths / 10) for tenths in range(11))
    return share, temperature


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found
