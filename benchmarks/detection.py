"""Recall, false alarms and time of the detectors: python -m benchmarks.detection [SCENES].

FER+ test faces set into places without people (see `benchmarks.scenes`), 640x480. A face counts as
found where a box overlaps its square by an intersection over union of 0.4; every other box is a
false alarm. Time is the median processor time of a scene, one thread. MIEN_FERPLUS_DATASET names
the dataset folder; MIEN_YUNET and MIEN_BLAZEFACE may name files of those networks.
"""

import os
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

import cv2

from benchmarks.scenes import DATASET, Scene, open_faces, scenes
from mien.detect import BlazeFace, CenterFace, Detector, Haar, YuNet

OVERLAP = 0.4


def detectors() -> dict[str, Detector]:
    found: dict[str, Detector] = {
        "haar, 960": Haar(),
        "haar, 320": Haar(longest_side=320, min_share=0.12),
    }
    if CenterFace.installed():
        for side, score in (
            (640, 0.5),
            (640, 0.35),
            (640, 0.3),
            (640, 0.25),
            (480, 0.35),
            (320, 0.35),
            (320, 0.3),
            (320, 0.25),
        ):
            found[f"centerface, {side}, from {score}"] = CenterFace(
                longest_side=side, min_score=score, threads=1
            )
    if BlazeFace.installed() or "MIEN_BLAZEFACE" in os.environ:
        named = os.environ.get("MIEN_BLAZEFACE")
        for score in (0.6, 0.4):
            path = Path(named) if named else None
            found[f"blazeface, from {score}"] = BlazeFace(path, min_score=score)
    if "MIEN_YUNET" in os.environ:
        found["yunet, 640"] = YuNet(Path(os.environ["MIEN_YUNET"]))
    return found


def _judge(detector: Detector, drawn: list[Scene]) -> tuple[Counter[str], Counter[str], float, int]:
    hits: Counter[str] = Counter()
    there: Counter[str] = Counter()
    seconds, false_alarms = [], 0
    for scene in drawn:
        started = time.process_time()
        boxes = [detection.box for detection in detector(scene.pixels)]
        seconds.append(time.process_time() - started)
        for face in scene.faces:
            there[scene.kind] += 1
            best = max(boxes, key=face.box.overlap, default=None)
            if best is not None and best.overlap(face.box) >= OVERLAP:
                hits[scene.kind] += 1
                boxes.remove(best)
        false_alarms += len(boxes)
    return hits, there, median(seconds), false_alarms


def main(count: int = 300) -> None:
    opened = open_faces("test")
    if opened is None:
        print(f"detection: skipped, {DATASET} is not there (set MIEN_FERPLUS_DATASET)")
        return
    cv2.setNumThreads(1)
    drawn = list(scenes(opened[1], count=count, seed=0))
    print(f"{count} scenes of 640x480, {sum(len(s.faces) for s in drawn)} faces")
    kinds = ("upright", "small", "tilted", "dim", "several")
    print(f"{'':28}{'recall':>8}" + "".join(f"{k:>9}" for k in kinds) + f"{'false':>7}{'ms':>7}")
    for name, detector in detectors().items():
        hits, there, seconds, false_alarms = _judge(detector, drawn)
        shares = "".join(f"{hits[kind] / max(1, there[kind]):9.1%}" for kind in kinds)
        recall = hits.total() / there.total()
        print(f"{name:28}{recall:8.1%}{shares}{false_alarms:7}{1000 * seconds:7.1f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
