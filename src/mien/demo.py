"""The whole way once, on faces that mien draws and one photo in the public domain.

Draws labelled faces, imports them, trains a small network from scratch, judges it on faces it has
never seen, exports it, and reads pictures with the shipped model. Nothing is fetched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skimage import data

from mien import load
from mien.annotate import annotate
from mien.config import load_recipe
from mien.data.dataset import Dataset
from mien.data.drawn_folder import draw_folder
from mien.data.importers import import_dataset
from mien.drawn import draw_scene
from mien.images import write_image
from mien.judging.evaluate import Report, evaluate
from mien.progress import Progress
from mien.records import Face
from mien.training.export import export_run
from mien.training.runs import open_run
from mien.training.train import train

__all__ = ["Demonstration", "demonstrate"]

FACES = 4000
SCENE = ("surprise", "happiness", "neutral", "sadness")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What the demo found.

    Attributes:
        photo: the faces in the photo of an astronaut.
        drawn: the faces in the drawn scene.
        report: the new network's figures on drawn faces that it was not trained on.
        files: what to look at, and what it is.
    """

    photo: list[Face]
    drawn: list[Face]
    report: Report
    files: dict[Path, str]


def demonstrate(
    out: Path,
    *,
    say: Callable[[str], None],
    progress: Progress,
    on_epoch: Callable[[dict[str, Any]], None],
) -> Demonstration:
    """Go the whole way once and leave everything in ``out``.

    Args:
        out: a folder to make.
        say: is told each step in a line.
        progress: shows how far a step is.
        on_epoch: is told each epoch's entry of the history.
    """
    say("1/4  reading a photo and a drawn scene with the shipped model")
    out.mkdir(parents=True, exist_ok=True)
    recogniser = load()
    pictures = {"astronaut": data.astronaut(), "scene": draw_scene(SCENE, seed=3)[0]}
    found: dict[str, list[Face]] = {}
    for name, pixels in pictures.items():
        found[name] = recogniser(pixels)
        write_image(out / f"{name}.jpg", annotate(pixels, found[name]))

    say(f"2/4  drawing {FACES:,} labelled faces and importing them")
    draw_folder(out / "faces", count=FACES, size=48, seed=0, progress=progress)
    packed = out / "drawn-faces"
    import_dataset("folder", out / "faces", packed, size=48, channels=1, progress=progress)

    say("3/4  training a small network from scratch on 70 % of them")
    dataset = Dataset.open(packed)
    run = out / "your-network"
    train(dataset, load_recipe("fast"), run, on_epoch=on_epoch)

    say("4/4  judging it on faces it has never seen, and exporting it")
    report = evaluate(open_run(run), dataset, "test")
    report.save(run / "eval-test", dataset)
    export_run(run, out / "mine.onnx")
    scene = pictures["scene"]
    write_image(out / "scene-mine.jpg", annotate(scene, load(out / "mine.onnx")(scene)))
    return Demonstration(
        photo=found["astronaut"],
        drawn=found["scene"],
        report=report,
        files={
            out / "astronaut.jpg": "a photo, read by the shipped model",
            out / "scene.jpg": "drawn people, read by the shipped model",
            out / "scene-mine.jpg": "the same people, read by your network",
            run / "curves.png": "loss and accuracy of every epoch of your network",
            run / "eval-test" / "evaluation.html": "how good it is: a page of figures",
            out / "mine.onnx": "your network in one file: mien predict --model ...",
        },
    )
