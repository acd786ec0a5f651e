"""mien: facial emotion recognition that you train yourself.

import mien

recogniser = mien.load()
for face in recogniser("photo.jpg"):
    print(face.emotion, face.confidence)
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mien.errors import (
    ConfigError,
    DataError,
    DatasetError,
    ImageError,
    MienError,
    ModelError,
    UsageError,
    VideoError,
)
from mien.labels import EMOTIONS
from mien.records import Box, Face, Prediction
from mien.version import __version__

if TYPE_CHECKING:
    from mien.detect import Detector
    from mien.picture import Picture
    from mien.predictor import Recogniser

# Before ONNX Runtime is imported: newer ones keep figures about the machine in the home folder, and
# send them to their maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "EMOTIONS",
    "Box",
    "ConfigError",
    "DataError",
    "DatasetError",
    "Detector",
    "Face",
    "ImageError",
    "MienError",
    "ModelError",
    "Picture",
    "Prediction",
    "Recogniser",
    "UsageError",
    "VideoError",
    "__version__",
    "load",
]


if not TYPE_CHECKING:  # By it, any name would be one for type checkers.

    def __getattr__(name: str) -> Any:
        """Give types that annotations name, once they are asked for: see `load`."""
        places = {"Detector": "detect", "Picture": "picture", "Recogniser": "predictor"}
        if name not in places:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{places[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def load(
    name_or_path: "str | os.PathLike[str]" = "base",
    *,
    detector: "str | os.PathLike[str] | Detector" = "auto",
    device: str = "cpu",
    threads: int = 0,
) -> "Recogniser":
    """Open a model and return a recogniser.

    Args:
        name_or_path: a shipped model's name or an ONNX file made by ``mien export``.
        detector: a name of `mien.detect.DETECTORS` (``auto``, ``fast``, ``none``, ...), the path of
            a YuNet or BlazeFace file, or an object that finds faces.
        device: ``cpu`` or ``cuda``.
        threads: at most so many threads for a call of the model, and of a detector given by name;
            0 leaves it to ONNX Runtime.

    Raises:
        ModelError: there is no such file, or it is not what it should be.
        UsageError: an unknown model, detector or device, a detector whose file is not installed, or
            a number of threads that is none.
    """
    # Here, not above: OpenCV and ONNX Runtime take longer to import than the rest together.
    from mien.detect import make_detector
    from mien.model import load_model
    from mien.predictor import Recogniser

    if isinstance(detector, str | os.PathLike):
        detector = make_detector(os.fspath(detector), threads=threads)
    return Recogniser(load_model(name_or_path, device=device, threads=threads), detector)
