"""Another package's classifier behind mien's protocol: `python runner.py NAME`.

Reads image paths on standard input and writes a line of JSON for each. Every image is one face that
is cut out already, so each package's own detector is left out, and its classifier is fed as its
source feeds it (see each function). Runs in an environment of its own and knows nothing of mien.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Classify = Callable[[Pixels], Sequence[float]]
_ENET = "enet_b0_8_best_vgaf.onnx"
_ENET_LABELS = (
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
)


def _folder(package: str) -> Path:
    """Return where a package lies, without importing it and the TensorFlow that it imports."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        sys.exit(f"{package} is not installed")
    return Path(found.origin).parent


def _tflite(file: Path) -> Callable[[NDArray[np.floating[Any]]], list[float]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file), num_threads=1)
    interpreter.allocate_tensors()
    into = interpreter.get_input_details()[0]["index"]
    out = interpreter.get_output_details()[0]["index"]

    def run(batch: NDArray[np.floating[Any]]) -> list[float]:
        interpreter.set_tensor(into, batch.astype(np.float32))
        interpreter.invoke()
        found: list[float] = interpreter.get_tensor(out)[0].tolist()
        return found

    return run


def _fer() -> tuple[Sequence[str], Classify]:
    """Fer 25.10: grey, 64x64, -1..1.

    Its own call widens a detected box by ten pixels on each side; of a crop that would be a grey
    frame, so none is added.
    """
    run = _tflite(_folder("fer") / "data" / "emotion_model_quantized.tflite")

    def classify(pixels: Pixels) -> Sequence[float]:
        grey = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (64, 64))
        return run(((grey / 255 - 0.5) * 2)[None, :, :, None])

    return ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"), classify


def _facex() -> tuple[Sequence[str], Classify]:
    """Facex 1.1: grey, resized to 200x200x3 by scikit-image, 0..1."""
    from skimage.transform import resize

    run = _tflite(_folder("facex") / "assets" / "model_optimized.tflite")

    def classify(pixels: Pixels) -> Sequence[float]:
        grey = resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (200, 200, 3))
        return run(grey[None])

    return ("anger", "disgust", "fear", "happy", "neutral", "sadness", "surprised"), classify


def _enet(cache: str, package: str) -> tuple[Sequence[str], Classify]:
    """hsemotion-onnx 0.3 and emotiefflib 1.1: RGB, 224x224, ImageNet's mean and deviation."""
    import onnxruntime

    file = Path.home() / cache / _ENET
    if not file.exists():
        sys.exit(f"no weights: {package} fetches them on its first use and keeps them as {file}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def classify(pixels: Pixels) -> Sequence[float]:
        x = cv2.resize(pixels, (224, 224)) / 255
        x = (x - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        batch = x.transpose(2, 0, 1).astype(np.float32)[None]
        (scores,) = session.run(None, {name: batch})[0]
        shares = np.exp(scores - scores.max())
        return [float(share) for share in shares / shares.sum()]

    return _ENET_LABELS, classify


def _deepface() -> tuple[Sequence[str], Classify]:
    """Deepface 0.0: BGR into its own call, whose detector is skipped."""
    file = Path.home() / ".deepface" / "weights" / "facial_expression_model_weights.h5"
    if not file.exists():
        sys.exit(f"no weights: deepface fetches them on its first use and keeps them as {file}")
    if importlib.util.find_spec("deepface") is None:
        sys.exit("deepface is not installed: pip install deepface==0.0.103 tf-keras")
    from deepface import DeepFace

    labels = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

    def classify(pixels: Pixels) -> Sequence[float]:
        (found,) = DeepFace.analyze(
            pixels[..., ::-1],
            actions=["emotion"],
            detector_backend="skip",
            enforce_detection=False,
            silent=True,
        )
        return [found["emotion"][label] / 100 for label in labels]

    return labels, classify


PEERS: dict[str, Callable[[], tuple[Sequence[str], Classify]]] = {
    "fer": _fer,
    "facex": _facex,
    "hsemotion": lambda: _enet(".hsemotion", "hsemotion-onnx"),
    "emotiefflib": lambda: _enet(".emotiefflib", "emotiefflib"),
    "deepface": _deepface,
}


def main() -> None:
    """Answer until standard input ends."""
    if len(sys.argv) != 2 or sys.argv[1] not in PEERS:
        sys.exit(f"expected one of {', '.join(PEERS)}")
    labels, classify = PEERS[sys.argv[1]]()
    for path in map(str.strip, sys.stdin):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        started = time.perf_counter()
        shares = classify(pixels)
        ms = 1000 * (time.perf_counter() - started)
        face: dict[str, Any] = {
            "box": [0, 0, pixels.shape[1], pixels.shape[0]],
            "probabilities": dict(zip(labels, shares, strict=True)),
        }
        print(json.dumps({"source": path, "faces": [face], "error": None, "ms": ms}))


if __name__ == "__main__":
    main()
