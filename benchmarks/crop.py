"""What the crop costs: python -m benchmarks.crop [FACES].

FER+ test faces set into places without people (320x320, side 60 to 160 pixels, tilted by up to 30
degrees or upright), found by a detector, cut out and read. Printed beside what the same faces come
to when they are cut out perfectly: the difference is the end-to-end loss. Then, on validation
faces, how the true squares lie to the detectors', and the accuracy against the growth of the box (a
growth of 1.1 is a margin of 0.05), with and without levelled eyes: the detectors' GROWTH and DROP
were chosen from these.
MIEN_FERPLUS_DATASET names the dataset folder.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.scenes import DATASET, Pixels, open_faces, paste, place
from mien.detect import BlazeFace, CenterFace, Detector, Haar
from mien.model import OnnxModel, load_model
from mien.preprocess import face_crop
from mien.records import Box, Detection

GROWTHS = (0.85, 0.95, 1.0, 1.05, 1.15, 1.25)
TILTS = (0, 10, 20, 30)
SIDE = 320


@dataclass(frozen=True)
class Case:
    """A face in a place: where it truly is, and what it shows."""

    pixels: Pixels
    box: Box
    tilt: float
    label: int


def _cases(
    model: OnnxModel, split: Literal["valid", "test"], count: int, most: float
) -> list[Case]:
    opened = open_faces(split)
    assert opened is not None
    _, faces, labels = opened
    rng = np.random.default_rng(0)
    cases = []
    for row in rng.choice(len(faces), count, replace=False):
        pixels = place(rng, SIDE, SIDE)
        side = float(rng.uniform(60, 160))
        x, y = rng.uniform(0, SIDE - side, 2)
        box, tilt = Box(float(x), float(y), side, side), float(rng.uniform(-most, most))
        paste(pixels, faces[row], box, tilt)
        cases.append(Case(pixels, box, tilt, model.card.labels.index(str(labels[row]))))
    return cases


def _found(detector: Detector, case: Case) -> Detection | None:
    """The surest detection whose middle lies in the face and whose size is about right."""
    box = case.box
    fitting = [
        d
        for d in detector(np.repeat(case.pixels[..., None], 3, axis=2))
        if box.x < d.box.middle[0] < box.x + box.width
        and box.y < d.box.middle[1] < box.y + box.height
        and 0.5 < d.box.height / box.height < 1.7
    ]
    return max(fitting, key=lambda d: d.score or 0, default=None)


def _accuracy(
    model: OnnxModel, cases: Sequence[Case], places: Sequence[Detection], *, level: bool = True
) -> float:
    crops: list[NDArray[np.uint8]] = [
        face_crop(case.pixels, at.box, model.card.spec, roll=at.roll if level else 0.0)
        for case, at in zip(cases, places, strict=True)
    ]
    named = [
        int(row.argmax())
        for start in range(0, len(crops), 64)
        for row in model.probabilities(crops[start : start + 64])
    ]
    return float(np.mean([n == case.label for n, case in zip(named, cases, strict=True)]))


def _perfect(case: Case) -> Detection:
    """Where the face truly is, with eyes on a line of its tilt."""
    x, y = case.box.middle
    dx, dy = math.cos(math.radians(case.tilt)), math.sin(math.radians(case.tilt))
    return Detection(case.box, 1.0, ((x - dx, y - dy), (x + dx, y + dy)))


def _grown(at: Detection, growth: float) -> Detection:
    side = at.box.height * growth
    x, y = at.box.middle
    return replace(at, box=Box(x - side / 2, y - side / 2, side, side))


def main(count: int = 500) -> None:
    if open_faces("test") is None:
        print(f"crop: skipped, {DATASET} is not there (set MIEN_FERPLUS_DATASET)")
        return
    cv2.setNumThreads(1)
    model = load_model(threads=1)
    detectors: dict[str, Detector] = {"haar": Haar(longest_side=SIDE)}
    if CenterFace.installed():
        detectors["centerface"] = CenterFace(threads=1)
    if BlazeFace.installed():
        detectors["blazeface"] = BlazeFace(min_score=0.5)

    print(f"test, {count} faces: accuracy on those found, the same cut out perfectly, the loss")
    for tilt in (0, 30):
        cases = _cases(model, "test", count, tilt)
        for name, detector in detectors.items():
            pairs = [(c, at) for c in cases if (at := _found(detector, c)) is not None]
            own, places = [c for c, _ in pairs], [at for _, at in pairs]
            got = _accuracy(model, own, places)
            best = _accuracy(model, own, [_perfect(case) for case in own])
            print(
                f"  {name:12} tilt up to {tilt:2}: found {len(own):4}, {got:.1%}, {best:.1%}, "
                f"{100 * (best - got):+.1f} points",
                flush=True,
            )

    print(f"valid, {count} faces, true boxes: accuracy by tilt, as it is and levelled")
    for tilt in TILTS:
        cases = [replace(c, tilt=tilt) for c in _cases(model, "valid", count, 0)]
        turned = [_turned(case) for case in cases]
        places = [_perfect(case) for case in turned]
        askew, level = (_accuracy(model, turned, places, level=flag) for flag in (False, True))
        print(f"  {tilt:2} degrees: {askew:.1%}  {level:.1%}", flush=True)

    cases = _cases(model, "valid", count, 30)
    print("valid, tilt up to 30: accuracy by growth of the detector's box, as it is and levelled")
    for name, detector in detectors.items():
        pairs = [(c, at) for c in cases if (at := _found(detector, c)) is not None]
        own = [c for c, _ in pairs]
        larger = np.median([c.box.height / at.box.height for c, at in pairs])
        lower = np.median([(c.box.middle[1] - at.box.middle[1]) / c.box.height for c, at in pairs])
        print(f"  {name}: the true square is {larger:.2f} times as large and {lower:+.3f} lower")
        for growth in GROWTHS:
            places = [_grown(at, growth) for _, at in pairs]
            askew, level = (_accuracy(model, own, places, level=flag) for flag in (False, True))
            print(f"  {name:12} x {growth:4}: {askew:.1%}  {level:.1%}", flush=True)


def _turned(case: Case) -> Case:
    """The whole picture turned about the face by its tilt."""
    x, y = case.box.middle
    middle = (x - 0.5, y - 0.5)
    turn = cv2.getRotationMatrix2D(middle, -case.tilt, 1.0)
    pixels = cv2.warpAffine(case.pixels, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return replace(case, pixels=np.asarray(pixels, np.uint8))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
