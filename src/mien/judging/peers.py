"""Another package at work: a command that reads image paths and answers like ``mien predict``.

The command gets one path a line on standard input and writes, in the same order, one line of JSON
for each: `{"source": ..., "faces": [{"box": [x, y, w, h], "probabilities": {...}}], "error": null}`
with, if it likes, `"ms": 1.5`, its own time for that image. So it may live in its own environment
and language. Where it names several faces of an image, the largest counts.
"""

import json
import math
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, UsageError
from mien.images import write_image
from mien.labels import EMOTIONS, find_alias
from mien.progress import Progress, silent

__all__ = ["PeerAnswers", "ask_peer"]


@dataclass(frozen=True, slots=True)
class PeerAnswers:
    """What a command said of some images.

    Attributes:
        labels: the emotions that it named, in the order of `EMOTIONS`.
        probabilities: float64 (n, 8) in the order of `EMOTIONS`, rows summing to 1; 0 throughout
            where it found no face.
        milliseconds: a face: the median of its own figures where it reports ``ms``, else the whole
            time over n.
        timed: ``peer`` or ``whole``: which of the two.
        problem: why it could not read some of the images; empty where it could.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float64]
    milliseconds: float
    timed: str
    problem: str


def ask_peer(
    name: str, command: str, images: Iterable[NDArray[np.uint8]], *, progress: Progress = silent
) -> PeerAnswers:
    """Put images, each uint8 (H, W, 1 or 3), to a command as PNG files.

    Raises:
        UsageError: the command is not there.
        DataError: it failed, or its answers are not what they should be.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, image in enumerate(images):
            path = Path(folder) / f"{number:07d}.png"
            write_image(path, image[..., 0] if image.shape[2] == 1 else image)
            paths.append(str(path))
        started = time.perf_counter()
        lines = _run(name, command, paths, progress)
        whole = 1000 * (time.perf_counter() - started) / len(paths)
    probabilities = np.array([_probabilities(name, line) for line in lines])
    named = {label for line in lines for label in _named(line)}
    own = [line["ms"] for line in lines if _is_number(line.get("ms"))]
    return PeerAnswers(
        labels=tuple(emotion for emotion in EMOTIONS if emotion in named),
        probabilities=probabilities,
        milliseconds=float(np.median(own)) if own else whole,
        timed="peer" if own else "whole",
        problem=_first_problem(name, lines),
    )


def _first_problem(name: str, lines: Sequence[dict[str, Any]]) -> str:
    """Tell how many images it complains of, and of what first."""
    said = [line["error"] for line in lines if line.get("error")]
    if not said:
        return ""
    return f"peer {name}: could not read {len(said):,} of {len(lines):,} images: {said[0]}"


def _run(name: str, command: str, paths: Sequence[str], progress: Progress) -> list[dict[str, Any]]:
    with (
        tempfile.TemporaryFile("w+") as asked,
        tempfile.TemporaryFile("w+", errors="replace") as complaints,
    ):
        # A file, not a pipe: a command that answers before it has read everything cannot block us.
        asked.write("".join(f"{path}\n" for path in paths))
        asked.seek(0)
        try:
            running = subprocess.Popen(
                shlex.split(command),
                stdin=asked,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                errors="replace",
            )
        except (OSError, ValueError, IndexError) as error:
            raise UsageError(f"peer {name}: cannot run {command!r} ({error})") from None
        with running:
            try:
                said = progress(running.stdout or (), total=len(paths), doing=f"asking {name}")
                lines = [_parse(name, text) for text in said if text.strip()]
            except BaseException:
                running.kill()
                raise
        if running.returncode or len(lines) != len(paths):
            raise DataError(
                f"peer {name}: {len(lines):,} answers to {len(paths):,} images, exit status "
                f"{running.returncode}{_last_line(complaints)}"
            )
    for path, line in zip(paths, lines, strict=True):
        if line.get("source", path) != path:
            raise DataError(
                f"peer {name}: answered {line['source']!r} where {path!r} was asked; expected one "
                "line an image in the same order"
            )
    return lines


def _last_line(complaints: IO[str]) -> str:
    """The line that most probably tells why: the last that names an error, else the last."""
    complaints.seek(0)
    said = complaints.read().strip().splitlines()
    telling = [line for line in said if "Error" in line] or said
    return f": {telling[-1].strip()[:300]}" if telling else ""


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        # No whole number is too large for a float: it becomes infinite, which is checked.
        line = json.loads(text, parse_int=float)
    except ValueError:
        line = None
    faces = line.get("faces") if isinstance(line, dict) else None
    if not isinstance(line, dict) or not isinstance(faces, list) or not all(map(_is_face, faces)):
        raise DataError(
            f"peer {name}: wrote {text.strip()[:80]!r}, expected lines like 'mien predict --json'"
        )
    return line


def _is_face(face: Any) -> bool:
    """Whether it can be read: with a box of four numbers or none, and probabilities by name."""
    if not isinstance(face, dict) or not isinstance(face.get("probabilities", {}), dict):
        return False
    box = face.get("box", [0.0] * 4)
    return isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _probabilities(name: str, line: dict[str, Any]) -> NDArray[np.float64]:
    """The answer of one line, (8,); 0 throughout where there is no face."""
    found = np.zeros(len(EMOTIONS))
    if not line["faces"]:
        return found
    for label, share in _largest(line).items():
        emotion = find_alias(label)
        if emotion is None:
            raise DataError(f"peer {name}: named the emotion {label!r}, which mien does not know")
        if not isinstance(share, int | float) or not 0 <= share < math.inf:
            raise DataError(f"peer {name}: gave {label} the probability {share!r}")
        found[EMOTIONS.index(emotion)] += share
    if not found.sum():
        raise DataError(f"peer {name}: a face without any probability; expected at least one")
    result: NDArray[np.float64] = found / found.sum()
    return result


def _named(line: dict[str, Any]) -> set[str | None]:
    return {find_alias(label) for label in _largest(line)} if line["faces"] else set()


def _largest(line: dict[str, Any]) -> dict[str, Any]:
    face = max(line["faces"], key=lambda face: math.prod(face.get("box", (0, 0, 0, 0))[2:]))
    found: dict[str, Any] = face.get("probabilities", {})
    return found
