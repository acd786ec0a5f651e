"""Pictures in which nothing looks like a face, found without a trained model.

The dataset teaches what its faces look like: a classifier on histograms of oriented
gradients (Dalal & Triggs 2005) learns to tell its pictures from the same pictures broken up, so
that light, sharpness and grain are alike and only the face is gone. Odd poses and hidden faces
look strange to it too; so a picture is faceless only if OpenCV's cascades see no face in it either.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "find_faceless"]

FACELESS: Final = -0.25
"""Faces come to about 1, broken ones to about -1."""

_SIDE: Final = 48
FEWEST: Final = 200
"""With fewer pictures there is too little to learn from."""

_MOST: Final = 8000
_COMPONENTS: Final = 60
_RIDGE: Final = 300.0
_BATCH: Final = 2048
_CASCADES: Final = ("frontalface_default", "frontalface_alt2", "profileface")


def find_faceless(images: NDArray[np.uint8]) -> list[tuple[int, float]]:
    """Return the pictures that show no face, the least face-like first.

    Args:
        images: grey, uint8 (n, 48, 48); with fewer than 200 there is too little to learn from and
            nothing is found.

    Returns:
        Index and resemblance of each: about 1 for a face, `FACELESS` or less here.
    """
    if len(images) < FEWEST:
        return []
    resemblance = _resemblance(images)
    strange = np.flatnonzero(resemblance <= FACELESS)
    sees = _Cascades()
    strange = strange[np.argsort(resemblance[strange], kind="stable")]
    return [(int(i), float(resemblance[i])) for i in strange if not sees(images[i])]


def _resemblance(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Score every picture by ridge regression of whole (1) against broken (-1) pictures."""
    random = np.random.default_rng(0)
    chosen = random.permutation(len(images))[:_MOST]
    whole = _gradients(images[chosen])
    broken = _gradients(_break(image, random) for image in images[chosen])
    space = _Space(np.concatenate([whole, broken]))
    weights, mean = _regress(space, whole, broken)
    parts = [
        space(_gradients(images[start : start + _BATCH])) @ weights - mean
        for start in range(0, len(images), _BATCH)
    ]
    return np.concatenate(parts)


def _regress(
    space: "_Space", whole: NDArray[np.float32], broken: NDArray[np.float32]
) -> tuple[NDArray[np.float64], float]:
    """Return weights and what the mean picture comes to, from moments summed batch by batch."""
    matrix: Any = 0.0
    sums: Any = 0.0
    towards: Any = 0.0
    for histograms, target in ((whole, 1.0), (broken, -1.0)):
        for start in range(0, len(histograms), _BATCH):
            features = space(histograms[start : start + _BATCH])
            matrix += features.T @ features
            sums += features.sum(axis=0, dtype=np.float64)
            towards += target * features.sum(axis=0, dtype=np.float64)
    count = len(whole) + len(broken)
    centred = matrix - np.outer(sums, sums) / count + _RIDGE * np.eye(len(sums))
    weights = np.linalg.solve(centred, towards)
    return weights, float(sums @ weights / count)


class _Space:
    """Histograms of gradients with the products of their first principal components.

    The products let a linear rule ask for an eye *and* a mouth.
    """

    def __init__(self, histograms: NDArray[np.float32]) -> None:
        self._mean = histograms.mean(axis=0)
        centred = histograms - self._mean
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        self._axes = vectors[:, -_COMPONENTS:] / np.sqrt(values[-_COMPONENTS:].clip(1e-9))
        self._pairs = np.triu_indices(_COMPONENTS)

    def __call__(self, histograms: NDArray[np.float32]) -> NDArray[np.float32]:
        centred = histograms - self._mean
        parts = centred @ self._axes
        products = parts[:, self._pairs[0]] * parts[:, self._pairs[1]]
        # So weighed, the many products do not drown what the histograms say by themselves.
        return np.concatenate([3.0 * centred, 0.3 * products], axis=1, dtype=np.float32)


def _gradients(images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    describe = cv2.HOGDescriptor((_SIDE, _SIDE), (16, 16), (8, 8), (8, 8), 9)
    return np.stack([np.ravel(describe.compute(np.ascontiguousarray(i))) for i in images])


def _break(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Take the face out of a picture and leave what it is made of."""
    match random.integers(5):
        case 0:
            return _shuffle_tiles(image, random)
        case 1:
            return _magnify(image, random)
        case 2:
            return np.rot90(image, int(random.integers(1, 4)))
        case 3:
            return _scramble_phases(image, random)
        case _:
            return np.roll(image, random.integers(_SIDE // 3, 2 * _SIDE // 3, 2), axis=(0, 1))


def _shuffle_tiles(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    count = int(random.integers(2, 5))
    side = _SIDE // count
    tiles = image.reshape(count, side, count, side).swapaxes(1, 2).reshape(-1, side, side)
    shuffled = random.permutation(tiles).reshape(count, count, side, side)
    return shuffled.swapaxes(1, 2).reshape(_SIDE, _SIDE)


def _magnify(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    side = int(random.integers(_SIDE // 5, _SIDE // 2))
    y, x = random.integers(0, _SIDE - side, 2)
    part = image[y : y + side, x : x + side]
    return np.asarray(cv2.resize(part, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR), np.uint8)


def _scramble_phases(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    phases = np.angle(np.fft.fft2(random.normal(size=image.shape)))
    noise = np.fft.ifft2(np.abs(np.fft.fft2(image)) * np.exp(1j * phases)).real
    low, high = noise.min(), noise.max()
    return np.asarray((noise - low) / max(high - low, 1e-9) * 255, np.uint8)


class _Cascades:
    """OpenCV's face cascades, asked about small pictures that a face would fill."""

    def __init__(self) -> None:
        folder = Path(cv2.__file__).parent / "data"
        self._cascades = [
            cv2.CascadeClassifier(str(folder / f"haarcascade_{name}.xml")) for name in _CASCADES
        ]

    def __call__(self, image: NDArray[np.uint8]) -> bool:
        """Say whether any of them sees a face, or one looking the other way."""
        # Cascades want room around a face, and more pixels than these pictures have.
        edge = _SIDE // 4
        wide = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_REPLICATE)
        large = cv2.resize(wide, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        smallest = (_SIDE + 8, _SIDE + 8)
        return any(
            len(cascade.detectMultiScale(seen, 1.1, 1, minSize=smallest)) > 0
            for cascade in self._cascades
            for seen in (large, np.ascontiguousarray(large[:, ::-1]))
        )
