"""Suspect labels of a small set: python -m benchmarks.small_sets [RECIPE...], or fast.

Draws 600 faces, puts 32 of them into folders of other emotions, imports them, and cross-fits them
in four folds: how far the networks agree with the labels, how many labels are suspect, and how many
of the 32 are among them.
"""

import random
import sys
import tempfile
from pathlib import Path

from mien.config import load_recipe
from mien.data.dataset import Dataset
from mien.data.drawn_folder import draw_folder
from mien.data.importers import import_dataset
from mien.labels import EMOTIONS
from mien.training.crossfit import cross_fit

FACES = 600
MOVED = 32
MARK = "moved-"


def main(*recipes: str) -> None:
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw_folder(folder / "faces", count=FACES, size=48, seed=0)
        for file in chance.sample(sorted((folder / "faces").rglob("*.png")), MOVED):
            others = [emotion for emotion in EMOTIONS if emotion != file.parent.name]
            there = file.parent.with_name(chance.choice(others))
            file.rename(there / f"{MARK}{file.parent.name}-{file.name}")
        import_dataset("folder", folder / "faces", folder / "dataset", size=48, channels=1)
        dataset = Dataset.open(folder / "dataset")
        for recipe in recipes or ("fast",):
            found = cross_fit(dataset, load_recipe(recipe), folder / Path(recipe).stem)
            suspects = found.suspects(dataset.column("id"), dataset.column("label"))
            paths = dataset.column("path")
            right = sum(MARK in paths[suspect.row] for suspect in suspects)
            print(
                f"{recipe}: {found.says} {len(suspects)} of {FACES} labels are suspect, {right} of "
                f"the {MOVED} wrong ones among them"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
