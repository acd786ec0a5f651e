"""How steady readings are, and how late: python -m benchmarks.steadiness [FACES].

FER+ validation faces that hold their expression, under camera noise (standard deviation 6 grey
levels) and box jitter (3 % of the side in place and size): how often the name changes, frame by
frame and as `mien.video.steady` tells it. Then two faces of different emotions in a row: how long
until the new one is named, the change falling right after a frame. MIEN_FERPLUS_DATASET names the
dataset folder.
"""

import sys

import cv2
import numpy as np
from numpy.typing import NDArray

import mien.video.steady
from benchmarks.scenes import DATASET, Pixels, open_faces
from mien.model import OnnxModel, load_model
from mien.preprocess import face_crop
from mien.records import Box
from mien.video.steady import Steady

NOISE = 6.0
JITTER = 0.03
FRAMES = 180
SIDE = 96
CHANGES = 300
LEADS = (1.0, 1.3, 1.6, 2.0)


def _readings(model: OnnxModel, face: Pixels, rng: np.random.Generator) -> NDArray[np.float32]:
    """Read one face that holds still, frame by frame: (FRAMES, labels)."""
    edge = SIDE // 4
    large = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    large = cv2.copyMakeBorder(large, edge, edge, edge, edge, cv2.BORDER_REPLICATE)
    crops = []
    for dx, dy, grow in rng.normal(0, JITTER * SIDE, (FRAMES, 3)):
        noisy = np.clip(large + rng.normal(0, NOISE, large.shape), 0, 255).astype(np.uint8)
        side = SIDE + grow
        middle = edge + SIDE / 2
        box = Box(middle + dx - side / 2, middle + dy - side / 2, side, side)
        crops.append(face_crop(noisy, box, model.card.spec))
    return model.probabilities(crops)


def _named(rows: NDArray[np.float64], fps: int) -> NDArray[np.int64]:
    steady = Steady()
    return np.array([steady.update(n / fps, row)[1] for n, row in enumerate(rows)])


def _flicker(readings: NDArray[np.float64], fps: int) -> tuple[float, float]:
    """Changes of the name a second: raw and steadied."""
    seconds = readings.shape[0] * readings.shape[1] / fps
    raw = np.count_nonzero(np.diff(readings.argmax(axis=2), axis=1))
    calm = sum(np.count_nonzero(np.diff(_named(rows, fps))) for rows in readings)
    return raw / seconds, calm / seconds


def _delays(readings: NDArray[np.float64], fps: int) -> NDArray[np.float64]:
    """Seconds until a change is named; infinite where it is not within two seconds."""
    rng = np.random.default_rng(1)
    means = readings.mean(axis=1)
    label, sure = means.argmax(axis=1), np.flatnonzero(means.max(axis=1) > 0.6)
    delays: list[float] = []
    while len(delays) < CHANGES:
        old, new = rng.choice(sure, 2)
        if label[old] == label[new]:
            continue
        rows = np.concatenate([readings[old, : 2 * fps], readings[new, : 2 * fps]])
        right = np.flatnonzero(_named(rows, fps)[2 * fps :] == label[new])
        delays.append((right[0] + 1) / fps if len(right) else float("inf"))
    return np.array(delays)


def main(count: int = 160) -> None:
    opened = open_faces("valid")
    if opened is None:
        print(f"steadiness: skipped, {DATASET} is not there (set MIEN_FERPLUS_DATASET)")
        return
    rng = np.random.default_rng(0)
    model = load_model(threads=1)
    chosen = rng.choice(len(opened[1]), count, replace=False)
    rows = np.stack([_readings(model, opened[1][row], rng) for row in chosen])
    readings = rows.astype(np.float64)
    print(f"{count} faces, {FRAMES} frames each; window {mien.video.steady.WINDOW} s")
    for lead in LEADS:
        mien.video.steady.LEAD = lead  # type: ignore[misc]
        for fps in (10, 30):
            raw, calm = _flicker(readings, fps)
            delays = _delays(readings, fps)
            ratio = f"{raw / calm:5.0f}" if calm else "never"
            print(
                f"lead {lead}, {fps} fps: names change {raw:.2f} times a second raw, {calm:.4f} "
                f"steadied ({ratio} times fewer); a change is named after "
                f"{np.median(delays):.2f} s (median), {np.quantile(delays, 0.95):.2f} s (95 %), "
                f"{(delays <= 0.3 + 1e-9).mean():.1%} within 0.3 s",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
