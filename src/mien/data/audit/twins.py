"""Finding one picture under several guises: re-encoded, resized, mirrored, cropped, brightened.

A cascade, each step dearer and surer than the one before:

1. Every image becomes 63 numbers, the low frequencies of its cosine transform, of length 1. Pairs
   whose product is high are candidates. A mirror image has the same numbers with the odd
   horizontal frequencies negated, so mirrored pairs cost no second transform.
2. The tangent distance (Simard, LeCun and Denker 1993) forgives a small shift, a small change of
   width and height, and another contrast: what these change in an image is, to first order, a
   sum of known pictures, and whatever such a sum explains of the difference does not count.
3. The shift and the scale that step 2 came to are carried out, refined once, and the two
   pictures are compared pixel by pixel.

Whether two images are twins depends on these two alone, never on the others.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.splits import FLATTEST, Groups
from mien.progress import Progress, silent

__all__ = ["SIDE", "Twins", "find_twins"]

SIDE: Final = 48
"""Images are compared as grey pictures of this many pixels a side."""

_FREQUENCIES: Final = 8
_LOW_PRODUCT: Final = 0.80
_TANGENT_SIDE: Final = 16
_TANGENT_SIMILARITY: Final = 0.965
_TWIN_SIMILARITY: Final = 0.97

_BLOCK: Final = 1024
_LATER: Final = 8192
_PARAMETERS: Final = 4  # shift x, shift y, scale x, scale y

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


class Twins(NamedTuple):
    """Two images that show one picture.

    Attributes:
        first: index of the one.
        second: index of the other; larger than ``first``.
        mirrored: whether left and right are swapped.
        similarity: correlation of the two once they lie on each other, up to 1.
    """

    first: int
    second: int
    mirrored: bool
    similarity: float


def find_twins(
    images: NDArray[np.uint8],
    *,
    differ: Callable[[int, int], bool] = lambda first, second: False,
    progress: Progress = silent,
) -> list[Twins]:
    """Find the images that show one picture, as pairs.

    Pairs join all images of a picture, but where two are joined through others, their own pair may
    be absent: of a filmed face every frame would make one with every other. Time grows with the
    square of the number of images, at a few nanoseconds a pair that is not alike.

    Args:
        images: uint8 (n, SIDE, SIDE), grey.
        differ: whether two images are known to differ, however alike they look.
        progress: shows how far it is.
    """
    structured = np.flatnonzero([image.std() >= FLATTEST for image in images])
    images = images[structured]
    low = _low_frequencies(images)
    small = _shrink(images, _TANGENT_SIDE)
    found: dict[tuple[int, int], Twins] = {}
    joined = Groups(len(images))
    starts = range(0, len(images), _BLOCK)
    for start in progress(starts, total=len(starts), doing="comparing"):
        rows, others, mirrored = _candidates(low, start)
        for i, j, flip, shift in _near(small, start, rows, others, mirrored):
            if differ(int(structured[i]), int(structured[j])):
                continue
            if (i, j) not in found and joined.root(i) == joined.root(j):
                continue
            similarity = _aligned_similarity(images[i], images[j], flip, shift)
            if similarity >= _TWIN_SIMILARITY:
                joined.join(i, j)
                pair = Twins(int(structured[i]), int(structured[j]), flip, round(similarity, 4))
                # An even face may be its own mirror image: the better of the two counts.
                known = found.setdefault((i, j), pair)
                if known.similarity < similarity:
                    found[i, j] = pair
    return list(found.values())


# --- 1: low frequencies -------------------------------------------------------------------------


def _low_frequencies(images: NDArray[np.uint8]) -> Floats:
    place = np.arange(SIDE, dtype=np.float32)
    waves = np.cos(np.pi * (place + 0.5) * np.arange(_FREQUENCIES)[:, None] / SIDE)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    waves = waves.astype(np.float32)
    found = np.empty((len(images), _FREQUENCIES, _FREQUENCIES), dtype=np.float32)
    for start in range(0, len(images), _BLOCK):
        found[start : start + _BLOCK] = waves @ images[start : start + _BLOCK] @ waves.T
    found[:, 0, 0] = 0.0  # the mean brightness
    flat = found.reshape(len(images), _FREQUENCIES**2)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    unit: Floats = flat / lengths.clip(1e-6)
    return unit


def _candidates(low: Floats, start: int) -> tuple[Indices, Indices, NDArray[np.bool_]]:
    """Compare a block of images with itself and all that come later."""
    block = low[start : start + _BLOCK]
    signs = np.tile((-1.0) ** np.arange(_FREQUENCIES), _FREQUENCIES).astype(np.float32)
    parts = []
    for begin in range(start, len(low), _LATER):
        later = low[begin : begin + _LATER].T
        for mirrored, queries in ((False, block), (True, block * signs)):
            rows, others = np.divmod(
                np.flatnonzero((queries @ later).ravel() > _LOW_PRODUCT), later.shape[1]
            )
            once = others + begin > rows + start
            rows, others = rows[once] + start, others[once] + begin
            parts.append((rows, others, np.full(len(rows), mirrored)))
    rows, others, flips = (np.concatenate(part) for part in zip(*parts, strict=True))
    return rows, others, flips


# --- 2: tangent distance ------------------------------------------------------------------------


def _shrink(images: NDArray[np.uint8], side: int) -> Floats:
    out = np.empty((len(images), side, side), dtype=np.float32)
    for i, image in enumerate(images):
        out[i] = _blur(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))
    return out


def _blur(image: NDArray[Any]) -> Floats:
    """Blur a picture, so that it changes linearly over a shift of a pixel."""
    blurred: NDArray[Any] = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.0)
    return blurred.astype(np.float32, copy=False)


def _inside(small: Floats) -> Floats:
    """Return the pictures without their outermost pixels, as rows of mean 0 and length 1."""
    rows = small[:, 1:-1, 1:-1].reshape(len(small), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / lengths.clip(1e-3)
    return unit


def _tangents(small: Floats) -> Floats:
    """Return what each parameter changes in each picture: (n, 1 + parameters, pixels).

    The first is the picture itself: another contrast.
    """
    side = small.shape[1]
    along = ((np.arange(side) - (side - 1) / 2) / (side / 2)).astype(np.float32)
    down, right = np.gradient(small, axis=(1, 2))
    pictures = np.stack([small, right, down, along * right, along[:, None] * down], axis=1)
    rows = pictures[:, :, 1:-1, 1:-1].reshape(len(small), 1 + _PARAMETERS, -1)
    rows = rows - rows.mean(axis=2, keepdims=True)
    inner = small[:, 1:-1, 1:-1].reshape(len(small), -1)
    lengths = np.linalg.norm(inner - inner.mean(axis=1, keepdims=True), axis=1)
    tangents: Floats = rows / lengths.clip(1e-3)[:, None, None]
    return tangents


def _inverse_normal(tangents: Floats) -> Floats:
    normal = np.matmul(tangents, tangents.transpose(0, 2, 1))
    # A picture of stripes has tangents that hardly differ; this keeps the equations solvable.
    inverse: Floats = np.linalg.inv(normal + 1e-6 * np.eye(1 + _PARAMETERS, dtype=np.float32))
    return inverse


def _explain(difference: Floats, tangents: Floats) -> Floats:
    """Fit differences (n, pixels) by tangents: contrast and parameters, (n, 1 + p)."""
    along = np.matmul(tangents, difference[..., None])
    weights: Floats = np.matmul(_inverse_normal(tangents), along)[..., 0]
    return weights


def _near(
    small: Floats, start: int, rows: Indices, others: Indices, mirrored: NDArray[np.bool_]
) -> Iterator[tuple[int, int, bool, Floats]]:
    """Give the candidates that are near in tangent distance, with the shift that brings them so."""
    block = small[start : start + _BLOCK]
    own, tangents = _inside(block), _tangents(block)
    inverse = _inverse_normal(tangents)
    for begin in range(0, len(rows), 8192):
        part = slice(begin, begin + 8192)
        i, j, flip = rows[part] - start, others[part], mirrored[part]
        other = small[j]
        other[flip] = other[flip][:, :, ::-1]
        difference = _inside(other) - own[i]
        along = np.matmul(tangents[i], difference[..., None])[..., 0]
        weights = np.matmul(inverse[i], along[..., None])[..., 0]
        left = (difference * difference).sum(axis=1) - (weights * along).sum(axis=1)
        for n in np.flatnonzero(1.0 - left / 2 >= _TANGENT_SIMILARITY):
            # Shifts in pixels of the small picture, scales per half a side: both as shares.
            shift = weights[n, 1:] * 2 / _TANGENT_SIDE
            yield int(i[n]) + start, int(j[n]), bool(flip[n]), shift


# --- 3: laid on each other ----------------------------------------------------------------------


def _aligned_similarity(
    first: NDArray[np.uint8], second: NDArray[np.uint8], mirrored: bool, shift: Floats
) -> float:
    """Move the first picture onto the second and return their correlation."""
    target = _blur(second[:, ::-1] if mirrored else second)
    source = _blur(first)
    moved = _move(source, shift)
    weights = _explain(_inside(target[None]) - _inside(moved[None]), _tangents(moved[None]))
    refined = _move(source, shift + (weights[0, 1:] * 2 / SIDE).astype(np.float32))
    edge = 3  # what was moved in from outside is no evidence
    a, b = (x[edge:-edge, edge:-edge].ravel() for x in (refined, target))
    return max(_correlation(a, b), _correlation(moved[edge:-edge, edge:-edge].ravel(), b))


def _move(image: Floats, shift: Floats) -> Floats:
    """Sample an image at x + shift + scale * x, x from -1 to 1 over the side."""
    half = SIDE / 2
    middle = (SIDE - 1) / 2
    across, down, wider, taller = (float(value) for value in shift)
    matrix = np.array(
        [
            [1 + wider, 0, across * half - wider * middle],
            [0, 1 + taller, down * half - taller * middle],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved: NDArray[Any] = cv2.warpAffine(
        image, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return moved.astype(np.float32, copy=False)


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(float(np.sqrt((a @ a) * (b @ b))), 1e-6))
