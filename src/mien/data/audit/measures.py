"""What a picture shows of itself: light, contrast, detail. Knows no labels."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MEASURES", "measure"]

MEASURES: Final = {
    "brightness": "mean grey level, 0 (black) to 255 (white)",
    "contrast": "standard deviation of the grey levels; a low value means a flat picture",
    "lightest": "grey level that 5 % of the pixels exceed; a low value means a dark picture",
    "darkest": "grey level that 95 % of the pixels exceed; a high value means a washed-out one",
    "sharpness": "variance of the Laplacian over the variance of the picture, at 48x48 pixels; "
    "a low value means a blurred picture",
    "first_component": "largest singular value of the grey picture over the sum of all, 0 to 1; "
    "a high value means a flat picture",
}
"""Every measure and what its ends mean."""

_BATCH: Final = 2048


def measure(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Measure grey pictures: uint8 (n, side, side) to n values of each of `MEASURES`."""
    parts = [_measure(images[s : s + _BATCH]) for s in range(0, len(images), _BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in MEASURES}


def _measure(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    grey = images.astype(np.float64)
    contrast = grey.std(axis=(1, 2))
    darkest, lightest = np.percentile(images.reshape(len(images), -1), (5, 95), axis=1)
    edges = np.array([cv2.Laplacian(image, cv2.CV_32F).var() for image in images])
    return {
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": contrast,
        "lightest": lightest,
        "darkest": darkest,
        "sharpness": edges / (contrast**2).clip(1.0),
        "first_component": _first_component(grey),
    }


def _first_component(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    # The singular values of A are the roots of the eigenvalues of A A', which come much faster.
    eigenvalues = np.linalg.eigvalsh(grey @ grey.transpose(0, 2, 1))
    singular = np.sqrt(eigenvalues.clip(0.0))
    share: NDArray[np.float64] = singular[:, -1] / singular.sum(axis=1).clip(1e-9)
    # A black picture has no components; it is as flat as can be.
    share[singular[:, -1] == 0] = 1.0
    return share
