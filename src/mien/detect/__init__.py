"""Finding faces in a picture.

A detector takes an upright image, RGB (H, W, 3) or grey (H, W), uint8, and returns detections from
left to right. Its boxes are squares as models are trained on them: each detector knows how its own
network's boxes differ. To add one, write a class with a ``__call__`` and name it in `DETECTORS`.
Knows nothing of emotions.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.cores import session_threads
from mien.detect.base import Careful, Detector, Whole
from mien.detect.blazeface import BlazeFace
from mien.detect.centerface import CenterFace
from mien.detect.haar import Haar
from mien.detect.yunet import YuNet
from mien.errors import UsageError
from mien.records import Detection

__all__ = [
    "DETECTORS",
    "Auto",
    "BlazeFace",
    "Careful",
    "CenterFace",
    "Detector",
    "Haar",
    "Whole",
    "YuNet",
    "careful",
    "detector_identity",
    "make_detector",
]


class Auto:
    """The default: a good detector, and a small picture that is all face is taken whole.

    A nearly square picture of at most `CROP_SIDE` pixels is taken for a cut-out face when nothing
    is found in it, or one face that fills it; its detection has no score.

    Args:
        look: what looks for faces; None takes the best that is installed.
        threads: at most so many for a call of that; 0 leaves it to ONNX Runtime.
    """

    CROP_SIDE: Final = 128
    CROP_ASPECT: Final = 1.34
    CROP_FILLED: Final = 0.5

    def __init__(self, look: Detector | None = None, *, threads: int = 0) -> None:
        self.look = look or (CenterFace(threads=threads) if CenterFace.installed() else Haar())
        self._whole = Whole()

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces found, or the whole of a small picture."""
        found = list(self.look(image))
        short, long = sorted(image.shape[:2])
        if long > self.CROP_SIDE or long > short * self.CROP_ASPECT or len(found) > 1:
            return found
        filled = found[0].box.area if found else float("inf")
        return self._whole(image) if filled > self.CROP_FILLED * short * long else found


def _fast(*, threads: int = 0) -> Detector:
    """The quickest that is installed: for videos and cameras, whose faces are not tiny."""
    if CenterFace.installed():
        return CenterFace(longest_side=320, threads=threads)
    return Haar(longest_side=320, min_share=0.12)


DETECTORS: Mapping[str, Callable[..., Detector]] = MappingProxyType(
    {
        "auto": Auto,
        "fast": _fast,
        "centerface": CenterFace,
        "blazeface": BlazeFace,
        "haar": Haar,
        "none": Whole,
    }
)
"""Every detector by name."""

_OF_FILES: Mapping[str, Callable[[Path], Detector]] = MappingProxyType(
    {".onnx": YuNet, ".tflite": BlazeFace}
)

_OF_THREADS: Final = frozenset({"auto", "fast", "centerface"})
"""Those that ONNX Runtime computes."""


def careful(detector: Detector) -> Detector:
    """Return a detector whose findings can be relied on: mien's own, or `Careful` of another.

    Raises:
        UsageError: it is none.
    """
    if isinstance(detector, type) or not callable(detector):
        raise UsageError(
            f"detector {detector!r}: expected an object that finds faces; mien.load takes a name "
            "or a file, too, and 'none' takes each picture as one face"
        )
    trusted = {Auto, BlazeFace, CenterFace, Haar, Whole, YuNet}
    return detector if type(detector) in trusted else Careful(detector)


def detector_identity(name: str, detector: Detector) -> str:
    """Tell what a name or file means on this machine: ``auto`` is what is installed.

    Args:
        name: of `make_detector`.
        detector: what that makes of it here.
    """
    kind = type(detector.look if isinstance(detector, Auto) else detector).__name__
    if name in DETECTORS:
        return f"{name} ({kind})"
    return f"{kind} {hashlib.sha256(Path(name).read_bytes()).hexdigest()[:16]}"


def make_detector(name: str, *, threads: int = 0) -> Detector:
    """Build a detector by name, or from a file: YuNet's ``.onnx``, BlazeFace's ``.tflite``.

    Args:
        name: of `DETECTORS`, or a file's path.
        threads: at most so many for a call of those that ONNX Runtime computes; 0 leaves it to
            that, which is one a core.

    Raises:
        UsageError: no detector goes by that name, the package that brings it is not there, or
            ``threads`` is no number of them.
        ModelError: the file is not what it should be.
    """
    session_threads(threads)
    if name in DETECTORS:
        return DETECTORS[name](threads=threads) if name in _OF_THREADS else DETECTORS[name]()
    path = Path(name)
    if read := _OF_FILES.get(path.suffix):
        if not path.is_file():
            raise UsageError(f"detector {name}: there is no such file")
        return read(path)
    raise UsageError(
        f"unknown detector {name!r}: expected one of {', '.join(DETECTORS)}, or a file, YuNet's "
        ".onnx or BlazeFace's .tflite"
    )
