"""Scenes for the benchmarks: real faces set into places that hold none.

Faces are FER+ images (grey, 48 pixels), so all of a scene is grey. Places are drawn ones and the
photographs without people that scikit-image's wheel brings.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage
from numpy.typing import NDArray

from mien.data.dataset import Dataset
from mien.drawn.scenery import scenery
from mien.images import read_image
from mien.records import Box

Pixels = NDArray[np.uint8]

DATASET = Path(os.environ.get("MIEN_FERPLUS_DATASET", "datasets/ferplus"))
"""FER+ as `mien data import ferplus` makes it."""

PHOTOGRAPHS = ("chelsea.png", "coffee.png", "rocket.jpg", "brick.png", "coins.png", "gravel.png",
               "grass.png", "ihc.png", "page.png", "text.png", "motorcycle_left.png")  # fmt: skip


@dataclass(frozen=True)
class Placed:
    """A face in a scene: its row in the dataset, its upright square, and its tilt in degrees."""

    row: int
    box: Box
    tilt: float


@dataclass(frozen=True)
class Scene:
    """A picture and the faces in it; ``kind`` names what makes it hard."""

    pixels: Pixels
    faces: tuple[Placed, ...]
    kind: str


def open_faces(split: str) -> tuple[NDArray[np.int64], Pixels, list[str | None]] | None:
    """Return rows, images (n, 48, 48) and labels of a split; None where the dataset is missing."""
    if not (DATASET / "dataset.json").exists():
        return None
    dataset = Dataset.open(DATASET)
    rows = dataset.usable(split)  # type: ignore[arg-type]
    labels = dataset.column("label")
    return rows, dataset.images(rows)[..., 0], [labels[row] for row in rows]


def place(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """A grey place without people, (height, width)."""
    folder = Path(skimage.__file__).parent / "data"
    photographs = [folder / name for name in PHOTOGRAPHS if (folder / name).exists()]
    if rng.random() < 0.4 or not photographs:
        return np.asarray(cv2.cvtColor(scenery(rng, width, height), cv2.COLOR_RGB2GRAY), np.uint8)
    photograph = read_image(photographs[int(rng.integers(len(photographs)))])
    if photograph.ndim == 3:
        photograph = np.asarray(cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY), np.uint8)
    scale = max(width / photograph.shape[1], height / photograph.shape[0]) * rng.uniform(1, 1.6)
    large = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top = int(rng.integers(large.shape[0] - height + 1))
    left = int(rng.integers(large.shape[1] - width + 1))
    return np.asarray(large[top : top + height, left : left + width], np.uint8)


def paste(pixels: Pixels, face: Pixels, box: Box, tilt: float) -> None:
    """Lay a face on a grey picture, turned clockwise by ``tilt`` degrees, with soft edges."""
    side = len(face)
    mask = np.zeros((side, side), np.float32)
    edge = max(1, side // 16)
    mask[edge:-edge, edge:-edge] = 1
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), edge / 2), np.float32)
    turn = cv2.getRotationMatrix2D((side / 2 - 0.5, side / 2 - 0.5), -tilt, box.width / side)
    corner = (box.x + box.width / 2 - side / 2, box.y + box.height / 2 - side / 2)
    turn[:, 2] += np.array(corner)
    size = (pixels.shape[1], pixels.shape[0])
    smooth = cv2.GaussianBlur(face, (0, 0), max(0.01, 0.35 * (side / box.width - 1)))
    laid = cv2.warpAffine(
        smooth if box.width < side else face, turn, size,
        flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32)  # fmt: skip
    share = cv2.warpAffine(mask, turn, size, flags=cv2.INTER_LINEAR)
    pixels[...] = np.clip(pixels + share * (laid - pixels), 0, 255).astype(np.uint8)


def scenes(
    faces: Pixels, *, count: int, seed: int, width: int = 640, height: int = 480
) -> Iterator[Scene]:
    """Draw scenes: upright and large, small, tilted, dim, several at once, none."""
    rng = np.random.default_rng(seed)
    kinds = ("upright", "small", "tilted", "dim", "several", "none")
    for number in range(count):
        kind = kinds[number % len(kinds)]
        pixels = place(rng, width, height)
        placed: list[Placed] = []
        for _ in range({"none": 0, "several": 4}.get(kind, 1)):
            # Larger, 48 pixels would be blurred as no camera blurs.
            low, high = (24, 48) if kind == "small" else (48, 160)
            side = float(np.exp(rng.uniform(np.log(low), np.log(high))))
            tilt = float(rng.uniform(-35, 35)) if kind == "tilted" else float(rng.normal(0, 3))
            box = _free_box(rng, side, width, height, placed)
            if box is not None:
                row = int(rng.integers(len(faces)))
                paste(pixels, faces[row], box, tilt)
                placed.append(Placed(row, box, tilt))
        if kind == "dim":
            dark = pixels * rng.uniform(0.12, 0.3) + rng.normal(0, 4, pixels.shape)
            pixels = np.clip(dark, 0, 255).astype(np.uint8)
        yield Scene(np.repeat(pixels[..., None], 3, axis=2), tuple(placed), kind)


def _free_box(
    rng: np.random.Generator, side: float, width: int, height: int, taken: list[Placed]
) -> Box | None:
    for _ in range(30):
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        if all(
            abs(x + side / 2 - o.box.x - o.box.width / 2) > 0.6 * (side + o.box.width)
            or abs(y + side / 2 - o.box.y - o.box.height / 2) > 0.6 * (side + o.box.height)
            for o in taken
        ):
            return Box(float(x), float(y), side, side)
    return None
