"""What a worker does: read one part of the plan, write one Parquet file, whole or not at all."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mien.errors import ImageError
from mien.images import read_image
from mien.places import locate, whole_file
from mien.predictor import Opened, Recogniser
from mien.records import Face
from mien.score.plan import Plan, part_name

__all__ = ["SCHEMA", "Tally", "score_part"]

_FACE: Final = pa.struct(
    [
        ("box", pa.list_(pa.float32(), 4)),
        ("detection", pa.float32()),
        ("emotion", pa.string()),
        ("confidence", pa.float32()),
        ("probabilities", pa.map_(pa.string(), pa.float32())),
    ]
)
SCHEMA: Final = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        ("row", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("faces", pa.list_(_FACE)),
        ("error", pa.string()),
    ]
)
"""One row an image, as ``mien predict --json`` has it; ``row`` is its row in a Parquet source."""

_TOGETHER: Final = 64


@dataclass(frozen=True, slots=True)
class Tally:
    """What a part came to."""

    number: int
    images: int
    faces: int
    unreadable: int


def score_part(plan: Plan, number: int, model: bytes) -> Tally:
    """Read every image of a part and write its results.

    Args:
        plan: where the parts and results lie.
        number: the part.
        model: the bytes of the model's ONNX file, so that workers elsewhere need no copy of it.

    Raises:
        DataError: the results cannot be written.
    """
    entries: list[int | None] = []

    def opened() -> Iterator[Opened]:
        for source, row, held in _images(plan, number):
            entries.append(row)
            yield source, _decoded(held)

    seen = [found for found, _ in _recogniser(model, plan.job.detector).predict_opened(opened())]
    rows = [
        {
            "source": found.source,
            "row": row,
            "width": found.width,
            "height": found.height,
            "faces": [_face(face) for face in found.faces],
            "error": found.error,
        }
        for found, row in zip(seen, entries, strict=True)
    ]
    _write(plan, number, pa.Table.from_pylist(rows, schema=SCHEMA))
    return Tally(
        number,
        len(rows),
        sum(len(found.faces) for found in seen),
        sum(found.error is not None for found in seen),
    )


def _images(plan: Plan, number: int) -> Iterator[tuple[str, int | None, bytes | None]]:
    """Yield name, row and bytes of each image; None where the bytes cannot be had."""
    files, _ = locate(plan.job.source)
    for path, start, stop in plan.part(number).pieces:
        if start is None or stop is None:
            try:
                with files.open_input_file(path) as file:
                    yield path, None, file.read()
            except OSError:
                yield path, None, None
            continue
        with files.open_input_file(path) as file:
            yield from _table_images(pq.ParquetFile(file), path, plan.job.column, start, stop)


def _table_images(
    table: pq.ParquetFile, path: str, column: str, start: int, stop: int
) -> Iterator[tuple[str, int, bytes | None]]:
    """Read the row groups that a stretch of rows touches, a batch in memory at a time."""
    first = 0
    for group in range(table.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        if first < stop and first + rows > start:
            row = first
            for batch in table.iter_batches(_TOGETHER, row_groups=[group], columns=[column]):
                for value in batch.column(0).to_pylist():
                    if start <= row < stop:
                        # Tables of Hugging Face's datasets hold {bytes, path}.
                        held = value.get("bytes") if isinstance(value, dict) else value
                        yield path, row, held if isinstance(held, bytes) else None
                    row += 1
        first += rows


def _decoded(held: bytes | None) -> NDArray[np.uint8] | ImageError:
    try:
        return ImageError("no bytes of an image there") if held is None else read_image(held)
    except ImageError as error:
        return error


def _face(face: Face) -> dict[str, Any]:
    return {
        "box": list(face.box),
        "detection": face.detection,
        "emotion": face.emotion,
        "confidence": face.confidence,
        "probabilities": list(face.probabilities.items()),
    }


def _write(plan: Plan, number: int, table: pa.Table) -> None:
    files, root = locate(plan.out)
    with whole_file(files, f"{root}/{part_name(number)}") as file:
        pq.write_table(table, file, compression="zstd")


@lru_cache(maxsize=1)
def _recogniser(model: bytes, detector: str) -> Recogniser:
    from mien import load

    folder = Path(tempfile.mkdtemp(prefix="mien-"))
    file = folder / f"{hashlib.sha256(model).hexdigest()[:16]}.onnx"
    file.write_bytes(model)
    try:
        return load(file, detector=detector, threads=1)
    finally:
        file.unlink()
        folder.rmdir()
