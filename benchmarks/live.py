"""The speed of `mien live`: python -m benchmarks.live [SECONDS].

A drawn person moves in 640x480 pixels. Each frame goes the whole way: tracker (detection among it),
reading, drawing, and, where there is a screen, the window. Frames come as fast as they are asked
for. On a busy machine the processor time says more than the rate. MIEN_THREADS limits OpenCV's
threads (2).
"""

import math
import os
import sys
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.annotate import annotate
from mien.detect import DETECTORS, CenterFace, Detector, Haar
from mien.drawn import draw_portrait, sample_parameters
from mien.drawn.scenery import scenery
from mien.errors import UsageError
from mien.model import load_model
from mien.predictor import Recogniser
from mien.video.overlay import Overlay
from mien.video.track import LIVE_SHARE, Tracker
from mien.video.window import Window

THREADS = int(os.environ.get("MIEN_THREADS", "2"))
FACE = 280


def _film() -> list[NDArray[np.uint8]]:
    """Four seconds at 30 frames a second, played to and fro."""
    rng = np.random.default_rng(0)
    place = scenery(rng, 640, 480)
    portrait = draw_portrait(sample_parameters("happiness", seed=8), size=FACE)
    frames = []
    for number in range(120):
        frame = place.copy()
        x = round(180 + 90 * math.sin(number / 19))
        y = round(90 + 25 * math.sin(number / 11))
        frame[y : y + FACE, x : x + FACE] = portrait
        noisy = frame + rng.normal(0, 3, frame.shape)
        frames.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return frames + frames[::-1]


def _measure(
    recogniser: Recogniser,
    frames: list[NDArray[np.uint8]],
    seconds: float,
    show: Callable[[NDArray[np.uint8]], object],
) -> tuple[float, float, float, float]:
    """Return frames a second, the median and 95th percentile of a frame's milliseconds, CPU ms."""
    tracker, overlay = Tracker(recogniser, most_share=LIVE_SHARE), Overlay()
    spent: list[float] = []
    began, worked = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        started = time.perf_counter()
        frame = frames[len(spent) % len(frames)]
        faces = tracker.update(frame, started - began)
        show(overlay.draw(annotate(frame, faces), status=["30 fps"]))
        spent.append(1000 * (time.perf_counter() - started))
    rate = len(spent) / (time.perf_counter() - began)
    busy = 1000 * (time.process_time() - worked) / len(spent)
    return rate, float(np.median(spent)), float(np.quantile(spent, 0.95)), busy


def main(seconds: float = 8.0) -> None:
    cv2.setNumThreads(THREADS)
    model, frames = load_model(threads=1), _film()
    detectors: dict[str, Detector] = {"haar, 320": Haar(longest_side=320, min_share=0.12)}
    if CenterFace.installed():
        detectors["centerface, 320 (fast)"] = DETECTORS["fast"]()
        detectors["centerface, 640 (auto)"] = DETECTORS["auto"]()
    for name, detector in detectors.items():
        recogniser = Recogniser(model, detector)
        shown = _measure(recogniser, frames, seconds, lambda pixels: None)
        print(f"{name}, without a window: {_told(shown)}", flush=True)
        try:
            with Window() as window:
                shown = _measure(recogniser, frames, seconds, window.show)
        except UsageError:
            continue
        print(f"{name}, in a window: {_told(shown)}", flush=True)


def _told(measured: tuple[float, float, float, float]) -> str:
    rate, middle, late, busy = measured
    return (
        f"{rate:.0f} frames a second; a frame {middle:.1f} ms (median), {late:.1f} ms (95 %), "
        f"{busy:.1f} ms of processor time (mean, all threads)"
    )


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
