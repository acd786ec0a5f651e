"""A model file at work: an ONNX file with its card, run by ONNX Runtime. No torch.

The file takes float32 ``pixels`` (N, channels, size, size), 0..1, and gives float32
``probabilities`` (N, labels).
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mien.card import METADATA_KEY, ModelCard
from mien.cores import session_threads, telling_of_threads
from mien.errors import DataError, ModelError, UsageError
from mien.preprocess import to_batch

__all__ = [
    "AGREEMENT",
    "DEFAULT_MODEL",
    "EmotionModel",
    "OnnxModel",
    "agreement",
    "is_run",
    "load_model",
    "shipped_models",
]

DEFAULT_MODEL = "base"

AGREEMENT = 0.9
"""Smallest share of drawn faces to which a file and the network beside it must answer alike."""

_COMPARED: Final = 16
"""Faces in one call, where models are compared: a face may be large and have many views."""
_AT_ONCE: Final = 512
"""Pictures in one call, all views of a face counted: more takes memory and is no quicker."""


class EmotionModel(Protocol):
    """Anything that names emotions: an ONNX file, or a run that was just trained."""

    @property
    def card(self) -> ModelCard:
        """What the model tells about itself."""

    def probabilities(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Map fitted faces, each uint8 (size, size, channels), to float32 (n, labels)."""


class OnnxModel:
    """A model file opened with ONNX Runtime. Safe to call from several threads.

    Args:
        path: the file.
        device: ``cpu`` or ``cuda`` (needs the onnxruntime-gpu package).
        threads: at most so many threads for one call; 0 leaves it to ONNX Runtime.

    Raises:
        ModelError: the file is missing, damaged, or was not made by mien.
        UsageError: the device is unknown or not there, or ``threads`` no number of them.
        DataError: the system allows no more threads.
    """

    def __init__(self, path: Path, *, device: str = "cpu", threads: int = 0) -> None:
        if path.is_dir():
            raise ModelError(
                f"{path} is a folder; expected an ONNX file. Of a training run, make one with "
                f"'mien export {path} --out FILE.onnx'"
            )
        if not path.exists():
            raise ModelError(f"{path}: no such model file; 'mien models' lists the shipped ones")
        provider = _provider(device)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = session_threads(threads)
        # Errors come back as exceptions; the log would only print them twice.
        options.log_severity_level = 4
        try:
            with telling_of_threads():
                self._session = onnxruntime.InferenceSession(
                    path, options, providers=[provider], enable_fallback=0
                )
        except DataError:
            raise
        except Exception as error:  # ONNX Runtime raises a dozen types that share no base.
            reason = " ".join(str(error).split())
            raise ModelError(f"{path}: not a readable ONNX model ({reason[:160]})") from None
        if self._session.get_providers()[0] != provider:
            # ONNX Runtime goes on with the CPU by itself, and only its log tells.
            raise UsageError(
                f"device {device!r} cannot be used: ONNX Runtime did not find the libraries that "
                "it needs, CUDA and cuDNN; install them, or use --device cpu"
            )
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError:
            raise ModelError(f"{path}: its card is no text; the file is damaged") from None
        if METADATA_KEY not in metadata:
            raise ModelError(
                f"{path}: an ONNX file without a mien card; expected one of 'mien export'"
            )
        self._card = ModelCard.parse(metadata[METADATA_KEY], source=str(path))
        self._check_shapes(path)
        self.path = path

    @property
    def card(self) -> ModelCard:
        """What the model tells about itself."""
        return self._card

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the file's SHA-256, which tell it from others of its name."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]

    def probabilities(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Map fitted faces, each uint8 (size, size, channels), to float32 (n, labels)."""
        if not crops:
            return np.empty((0, len(self._card.labels)), dtype=np.float32)
        return self.answer(to_batch(crops, self._card.spec))

    def answer(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map pixels (n, channels, size, size), 0..1, to probabilities (n, labels)."""
        at_once = max(1, _AT_ONCE // self._card.views)
        found = [
            self._session.run(["probabilities"], {"pixels": pixels[start : start + at_once]})[0]
            for start in range(0, len(pixels), at_once)
        ]
        return np.concatenate(found).astype(np.float32, copy=False)

    def _check_shapes(self, path: Path) -> None:
        spec = self._card.spec
        ins, outs = self._session.get_inputs(), self._session.get_outputs()
        expected = [spec.channels, spec.size, spec.size], [len(self._card.labels)]
        if [ins[0].shape[1:], outs[0].shape[1:]] != list(expected):
            raise ModelError(
                f"{path}: takes {ins[0].shape} and gives {outs[0].shape}, but its card says "
                f"(n, {', '.join(map(str, expected[0]))}) and (n, {expected[1][0]})"
            )


def agreement(one: EmotionModel, other: EmotionModel, crops: Sequence[NDArray[np.uint8]]) -> float:
    """Return the share of fitted faces to which two models give the same name."""
    parts = [crops[start : start + _COMPARED] for start in range(0, len(crops), _COMPARED)]
    of_one, of_other = (
        np.concatenate([model.probabilities(part).argmax(axis=1) for part in parts])
        for model in (one, other)
    )
    return float((of_one == of_other).mean())


def shipped_models() -> dict[str, Path]:
    """Return the models that the package ships, by name."""
    folder = Path(str(resources.files("mien"))) / "models"
    return {file.stem: file for file in sorted(folder.glob("*.onnx"))}


def is_run(name_or_path: str) -> bool:
    """Tell whether a name stands for a run folder; a shipped model's name does not."""
    return name_or_path not in shipped_models() and Path(name_or_path).is_dir()


def load_model(
    name_or_path: str | os.PathLike[str] = DEFAULT_MODEL, *, device: str = "cpu", threads: int = 0
) -> OnnxModel:
    """Open a shipped model by name, or a file by path.

    Raises:
        UsageError: there is no shipped model of that name, or no such device.
        ModelError: there is no such file, or it is not what it should be.
    """
    if not isinstance(name_or_path, str | os.PathLike) or not str(name_or_path):
        raise UsageError(f"model {name_or_path!r}: expected a name or the path of an ONNX file")
    shipped, name = shipped_models(), os.fspath(name_or_path)
    if name in shipped:
        return OnnxModel(shipped[name], device=device, threads=threads)
    path = Path(name)
    if not path.exists() and not path.suffix:
        raise UsageError(
            f"no model {name!r}: expected an ONNX file, one of "
            f"{', '.join(shipped) or '(none shipped)'}; 'mien eval' and 'mien compare' take a run, "
            "too, and 'mien export' makes a file of one"
        )
    return OnnxModel(path, device=device, threads=threads)


def _provider(device: str) -> str:
    providers = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
    if device not in providers:
        raise UsageError(f"device {device!r}: expected cpu or cuda")
    if providers[device] not in onnxruntime.get_available_providers():
        raise UsageError("device 'cuda' is not there: install onnxruntime-gpu, or use --device cpu")
    return providers[device]
