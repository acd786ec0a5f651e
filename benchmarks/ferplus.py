"""The shipped models on FER+, judged two ways: python -m benchmarks.ferplus [MODEL ...].

Imports FER+ afresh, then measures each model on the majority test (Barsoum et al. 2016, eight
emotions) through `mien eval`, and once more through `mien predict --detector none` on the image
files themselves. The two must agree to 0.1 point.

MIEN_FERPLUS names a folder with fer2013new.csv and images.zip (or the folders FER2013Train,
FER2013Valid and FER2013Test).
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from mien.data.dataset import Dataset
from mien.model import shipped_models

SOURCE = Path(os.environ.get("MIEN_FERPLUS", "../shared/data/fer2013"))
EXPECTED_IMAGES = 3153
AGREEMENT = 0.001


def _mien(*arguments: str | Path, may_report: bool = False) -> str:
    command = [str(Path(sys.executable).with_name("mien")), *map(str, arguments)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode not in ((0, 1) if may_report else (0,)):
        raise SystemExit(f"{' '.join(command)} ended with {ran.returncode}")
    return ran.stdout


def _unpack_test_images(folder: Path) -> None:
    if (SOURCE / "FER2013Test").is_dir():
        (folder / "FER2013Test").symlink_to((SOURCE / "FER2013Test").resolve())
        return
    with zipfile.ZipFile(SOURCE / "images.zip") as archive:
        names = [name for name in archive.namelist() if name.startswith("FER2013Test/")]
        archive.extractall(folder, names)


def _accuracy_of_predict(model: str, dataset: Dataset, folder: Path) -> float:
    rows = dataset.usable("test")
    labels, paths = dataset.column("label"), dataset.column("path")
    truth = {str(folder / paths[row]): labels[row] for row in rows}
    printed = _mien(
        "predict", folder / "FER2013Test", "--model", model, "--detector", "none", "--json", "-"
    )
    lines = [json.loads(line) for line in printed.splitlines()]
    right: list[bool] = [
        line["faces"][0]["emotion"] == truth[line["source"]]
        for line in lines
        if line["source"] in truth
    ]
    assert len(right) == EXPECTED_IMAGES, f"{len(right)} images were judged"
    return sum(right) / len(right)


def main(models: tuple[str, ...] = ()) -> None:
    if not (SOURCE / "fer2013new.csv").exists():
        print(f"passed over: no fer2013new.csv in {SOURCE}; set MIEN_FERPLUS to the FER+ folder")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(_mien("data", "import", "ferplus", SOURCE, "--out", folder / "dataset"))
        _unpack_test_images(folder)
        dataset = Dataset.open(folder / "dataset")
        for model in models or tuple(shipped_models()):
            figures = json.loads(_mien("eval", model, "--data", folder / "dataset", "--json", "-"))
            assert figures["n"] == EXPECTED_IMAGES, f"{figures['n']} images were judged"
            of_predict = _accuracy_of_predict(model, dataset, folder)
            print(
                f"{model}: FER+ majority test, n = {figures['n']:,}: accuracy "
                f"{figures['accuracy']:.2%} by eval, {of_predict:.2%} by predict; macro recall "
                f"{figures['macro_recall']:.2%}, NLL {figures['nll']:.4f}"
            )
            assert abs(of_predict - figures["accuracy"]) <= AGREEMENT, "the two disagree"


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
