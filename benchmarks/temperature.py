"""What a temperature of few validation images is worth: python -m benchmarks.temperature.

Fits the temperature to so many images, drawn 200 times, and asks for the loss on all others: by
`mien.judging.calibration`, by the lowest loss on the drawn images alone, and with the network as it
is (temperature 1). Once of recipe `few` on drawn faces, once of the shipped `base` on FER+
validation.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.ferplus import SOURCE
from mien.config import load_recipe
from mien.data.dataset import Dataset
from mien.data.drawn_folder import draw_folder
from mien.data.importers import import_dataset
from mien.judging.asking import ask_for_rows
from mien.judging.calibration import COLDEST, HOTTEST, fit_temperature
from mien.metrics import negative_log_likelihood
from mien.model import EmotionModel, load_model
from mien.records import SPLITS, Split
from mien.training.runs import open_run
from mien.training.train import train

COUNTS = (20, 50, 200, 1000)
DRAWS = 200
TRIED = np.geomspace(COLDEST, HOTTEST, 241)

Answers = tuple[NDArray[np.float64], NDArray[np.int64]]


def _answers(model: EmotionModel, dataset: Dataset, *splits: Split) -> Answers:
    """Return logits as they are before the model's own temperature, and labels."""
    rows = np.sort(np.concatenate([dataset.usable(split) for split in splits]))
    found = ask_for_rows(model, dataset, rows)
    logits = np.log(found.astype(np.float64).clip(1e-12)) * model.card.temperature
    return logits, dataset.labels(rows, model.card.labels)


def _of_drawn_faces(folder: Path) -> Answers:
    for name, count, seed in (("few", 240, 11), ("many", 2400, 99)):
        draw_folder(folder / f"{name}-faces", count=count, size=96, seed=seed)
        import_dataset("folder", folder / f"{name}-faces", folder / name)
    train(Dataset.open(folder / "few"), load_recipe("few"), folder / "run", device="cpu")
    return _answers(open_run(folder / "run"), Dataset.open(folder / "many"), *SPLITS)


def _of_ferplus(folder: Path) -> Answers:
    import_dataset("ferplus", SOURCE, folder / "ferplus")
    return _answers(load_model("base"), Dataset.open(folder / "ferplus"), "valid")


def _loss(logits: NDArray[np.float64], labels: NDArray[np.int64], temperature: float) -> float:
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    return negative_log_likelihood(powers / powers.sum(axis=1, keepdims=True), labels)


def _losses(logits: NDArray[np.float64], labels: NDArray[np.int64], count: int) -> Iterator[float]:
    """Give for each draw the loss on the others by ours, by the lowest loss alone, and as it is."""
    random = np.random.default_rng(0)
    for _ in range(DRAWS):
        order = random.permutation(len(labels))
        seen, others = order[:count], order[count:]
        ours = fit_temperature(logits[seen], labels[seen])
        alone = min(TRIED, key=lambda tried: _loss(logits[seen], labels[seen], float(tried)))
        yield from (_loss(logits[others], labels[others], float(t)) for t in (ours, alone, 1))


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sets = {"drawn faces": _of_drawn_faces(folder)}
        if (SOURCE / "fer2013new.csv").exists():
            sets["FER+ validation"] = _of_ferplus(folder)
        else:
            print(
                f"FER+ passed over: no fer2013new.csv in {SOURCE}; set MIEN_FERPLUS to its folder"
            )
    for name, (logits, labels) in sets.items():
        for count in COUNTS:
            losses = np.reshape([*_losses(logits, labels, count)], (DRAWS, 3))
            told = ", ".join(
                f"{way} {mean:.4f} (at worst {worst:.3f})"
                for way, mean, worst in zip(
                    ("ours", "lowest loss", "as it is"),
                    losses.mean(axis=0),
                    losses.max(axis=0),
                    strict=True,
                )
            )
            print(
                f"{name}, {count} of {len(labels):,} images: loss on the others: {told}", flush=True
            )


if __name__ == "__main__":
    main()
