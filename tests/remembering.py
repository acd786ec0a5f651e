"""Models whose answers are known."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.card import ModelCard
from mien.data.dataset import Dataset

__all__ = ["Remembers"]


class Remembers:
    """Knows every image of a dataset by its pixels; answers some emotions wrongly on demand."""

    def __init__(
        self, dataset: Dataset, labels: tuple[str, ...], *, wrong: dict[str, str] | None = None
    ) -> None:
        self.card = ModelCard(
            name="remembers", network="none", labels=labels, size=48, channels=1, parameters=0
        )
        rows = np.flatnonzero([shard is not None for shard in dataset.column("shard")])
        names = [dataset.column("label")[row] for row in rows]
        images = dataset.images(rows)
        self.known = {image.tobytes(): name for image, name in zip(images, names, strict=True)}
        self.wrong = wrong or {}
        self.asked: list[int] = []

    def probabilities(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.asked.append(len(crops))
        k = len(self.card.labels)
        out = np.full((len(crops), k), 0.1 / (k - 1), dtype=np.float32)
        for row, crop in zip(out, crops, strict=True):
            label = self.known[crop.tobytes()]
            row[self.card.labels.index(self.wrong.get(label, label))] = 0.9
        return out
