"""Making a model's confidence mean what it says: one temperature for all of its answers.

Temperature scaling divides the logits by one number, fitted to held-out images (Guo et al. 2017,
arXiv:1706.04599). It changes how sure a model is and never what it answers. Where these images are
few, most of all where every one of them is right, they tell little: the number then stays near 1.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.metrics import negative_log_likelihood

__all__ = ["COLDEST", "HOTTEST", "fit_temperature", "fit_tilt"]

COLDEST: Final = 0.05
HOTTEST: Final = 20.0
"""Temperatures stay between."""

_DEVIATION: Final = 0.5
"""How far the logarithms of temperatures lie from 0 before any image was seen."""

_HALVINGS: Final = 60


def fit_temperature(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    added: NDArray[np.float64] | float = 0.0,
) -> float:
    """Return the most probable temperature, if its logarithm is normal with mean 0 beforehand.

    Of many images it is the one with the lowest mean negative log-likelihood. Found by halving the
    interval of its logarithm in which the derivative changes sign.

    Args:
        logits: (n, k), finite; n at least 1.
        labels: (n,), 0..k-1.
        added: (k,), what is added to the divided logits.
    """
    scores = logits.astype(np.float64)
    own = scores[np.arange(len(labels)), labels]
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        colder = scores / np.exp(middle) + added
        gain = ((_softmax(colder) * scores).sum(axis=1) - own).sum() / np.exp(middle)
        if gain > middle / _DEVIATION**2:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def fit_tilt(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    tilt: NDArray[np.float64],
) -> tuple[float, float]:
    """Find how much of a tilt is left in logits, and the temperature that they have beside it.

    Where training counted some emotions more than by their number, it added up to the logarithm of
    that to their logits: all of it where labels are sure, nothing where each image tells its own
    distribution. What is left is found by likelihood, in tenths.

    Args:
        logits: (n, k), finite; n at least 1.
        labels: (n,), 0..k-1.
        tilt: (k,), what training may have added.

    Returns:
        The share of the tilt, 0..1, that is to be taken from the divided logits, and what divides
        them.
    """

    def fitted(share: float) -> tuple[float, float, float]:
        temperature = fit_temperature(logits, labels, -share * tilt)
        loss = negative_log_likelihood(_softmax(logits / temperature - share * tilt), labels)
        return loss, share, temperature

    _, share, temperature = min(fitted(tenths / 10) for tenths in range(11))
    return share, temperature


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found
