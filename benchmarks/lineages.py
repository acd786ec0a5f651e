"""One label a picture, three lineages: python -m benchmarks.lineages --data datasets/fer2013.

Six trunks from random weights on the clean set; then three lineages go on from trunks 1 to 3 on the
clean set and three from trunks 4 to 6 on the set as published (with copies of held-out images,
as in every paper), in two rounds. Teachers see the student's own pictures at every step (Beyer et
al. 2022, arXiv:2106.05237); none of those of a clean run has learnt a copy of a held-out image.

The six runs of a step are trained side by side on one GPU, and all ends --seconds after the start,
also starting Python and reading the data: the rounds have as many epochs as there is time for.

With --figures, afterwards and on any machine: the two runs of each lineage are averaged as
validation says (`mien average`), and each average is asked about the test split, as the pictures
are and by nine views of each.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.recipes import Figures, figures_of, told, with_copies
from mien.config import load_recipe
from mien.data.dataset import Dataset
from mien.training.checkpoint import BEST_NAME
from mien.training.history import read_history
from mien.training.networks import Views
from mien.training.runs import TorchModel, open_run
from mien.training.soup import average_runs
from mien.training.train import train

LINEAGES = (1, 2, 3)
TRUNKS = [f"trunk-{number}" for number in range(1, 7)]
LARGE = ("network=mirror-xl", "precision=bfloat16", "batch_size=256", "varied_at_once=32")
TRUNK = (*LARGE, "learning_rate=1.4e-2", "ema=0.996", "label_smoothing=0.1", "environment=0.1")
ROUNDS = {
    "clean": (*LARGE, "ema=0.997", "distillation=0.85", "environment=0.2", "mixup=0.25"),
    "published": (
        *(*LARGE, "ema=0.997", "distillation=0.6", "environment=0.1", "erasing=0.1"),
        *("rotation=10", "shift=0.06", "scale=0.1", "brightness=0.2", "contrast=0.2"),
    ),
}
RATES = {1: 1e-2, 2: 7e-3}
TAUGHT = 1.7
"""How much longer an epoch takes with six teachers; told by the first round for the second."""

Job = tuple[Dataset, Path, Sequence[str]]


class Campaign:
    """Runs in a folder, trained side by side until a time.

    Args:
        held: the dataset; its training split is the clean one.
        runs: the folder.
        extra: settings that replace those above, each ``key=value``.
        device: ``cpu``, ``cuda`` or ``auto``.
        ends: when all has to be done, by `time.monotonic`.
    """

    def __init__(
        self, held: Dataset, runs: Path, extra: Sequence[str], device: str, ends: float
    ) -> None:
        self.data = {"clean": held, "published": with_copies(held)}
        self.runs = runs
        self.extra = extra
        self.device = device
        self.ends = ends

    def train(self, trunk_epochs: int) -> None:
        """Train trunks and both rounds."""
        trunks: list[Job] = [
            (self.data["clean"], self.runs / name, (*TRUNK, f"seed={seed}"))
            for seed, name in enumerate(TRUNKS, start=1)
        ]
        seconds = TAUGHT * self._side_by_side(trunks, trunk_epochs)
        half = (self.ends - time.monotonic()) / 2
        first = [job for at in LINEAGES for job in self._pair(1, at)]
        seconds = self._side_by_side(first, epochs_within(half, seconds))
        second = [job for at in LINEAGES for job in self._pair(2, at)]
        self._side_by_side(second, epochs_within(self.ends - time.monotonic(), seconds))

    def _pair(self, number: int, at: int) -> list[Job]:
        """Return a round's runs of one clean lineage and of one on the published set."""
        clean, published = ([f"{kind}-1-{of}" for of in LINEAGES] for kind in ROUNDS)
        if number == 1:
            starts, taught = (TRUNKS[at - 1], TRUNKS[at + 2]), (TRUNKS, TRUNKS)
        else:
            starts = (clean[at - 1], published[at - 1])
            taught = ([*clean, *TRUNKS[3:]], [*clean, *published])
        return [
            (
                self.data[kind],
                self.runs / f"{kind}-{number}-{at}",
                (
                    *ROUNDS[kind],
                    f"learning_rate={RATES[number]}",
                    f"seed={100 * number + 10 * which + at}",
                    f"start_from={self.runs / start}",
                    f"teachers={json.dumps([str(self.runs / name) for name in teachers])}",
                ),
            )
            for which, (kind, start, teachers) in enumerate(
                zip(ROUNDS, starts, taught, strict=True)
            )
        ]

    def _side_by_side(self, jobs: Sequence[Job], epochs: int) -> float:
        """Train runs, a process each; return the seconds of an epoch of the slowest."""
        # Forked, so that Python starts and reads the data once; no GPU has been asked until then.
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=self._one, args=(*job, epochs)) for job in jobs]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        slowest = 0.0
        for (_, run, _), process in zip(jobs, processes, strict=True):
            if process.exitcode:
                raise SystemExit(f"{run} failed")
            history = read_history(run)
            best = min(history, key=lambda entry: entry["valid_loss"])
            took = median(entry["seconds"] for entry in history)
            slowest = max(slowest, took)
            print(
                f"{run.name}: epoch {best['epoch']} of {epochs}, validation "
                f"{best['valid_accuracy']:.2%}, macro recall {best['valid_macro_recall']:.2%}, "
                f"NLL {best['valid_nll']:.4f}, {took:.1f} s an epoch",
                flush=True,
            )
        return slowest

    def _one(self, dataset: Dataset, run: Path, settings: Sequence[str], epochs: int) -> None:
        config = load_recipe("base", (*settings, f"epochs={epochs}", *self.extra))
        train(dataset, config, run, device=self.device, resume=True)


def epochs_within(seconds: float, each: float) -> int:
    """Tell how many epochs fit into a time with a twentieth and ten seconds to spare."""
    return max(1, int((seconds - 10) / (1.05 * each)))


def judge(held: Dataset, runs: Path) -> None:
    """Average the runs of each lineage and tell what the averages say of validation and test."""
    for kind, dataset in (("clean", held), ("published", with_copies(held))):
        found: dict[str, list[Figures]] = {}
        for at in LINEAGES:
            average = runs / f"{kind}-{at}"
            if not (average / BEST_NAME).exists():
                average_runs([runs / f"{kind}-{n}-{at}" for n in RATES], dataset, average)
            model = open_run(average)
            card = model.card
            views = TorchModel(model.network, card.model_copy(update={"views": Views.COUNT}))
            for how, asked in (("as it is", model), ("nine views", views)):
                for split, figures in figures_of(asked, held):
                    found.setdefault(f"{how}, {split}", []).append(figures)
                    print(f"{kind}-{at}, {how}, {split}: {told([figures])}", flush=True)
        for where, figures_there in found.items():
            print(f"{kind}, three lineages, {where}: {told(figures_there)}", flush=True)


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(prog="benchmarks.lineages")
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET")
    parser.add_argument("--runs", type=Path, default=Path("runs/lineages"), metavar="DIR")
    parser.add_argument("--seconds", type=float, default=720)
    parser.add_argument("--trunk-epochs", type=int, default=24, metavar="N")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--figures", action="store_true", help="average and ask the test split")
    asked = parser.parse_args()
    if not asked.data.is_dir():
        print(f"lineages: skipped, {asked.data} is not there ('mien data import' makes it)")
        return
    held = Dataset.open(asked.data)
    if asked.figures:
        judge(held, asked.runs)
        return
    asked.runs.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(held, asked.runs, asked.set, asked.device, began + asked.seconds)
    campaign.train(asked.trunk_epochs)


if __name__ == "__main__":
    main()
