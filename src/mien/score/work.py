"""What a worker does: read one part of the plan, write one Parquet file, whole or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from mien.detect import detector_identity, make_detector
from mien.errors import DataError, ImageError
from mien.images import read_image
from mien.places import DAMAGED, is_lasting, locate, whole_file
from mien.predictor import Opened, Recogniser
from mien.records import Face, show_path
from mien.score.plan import Job, Plan, part_name

__all__ = ["SCHEMA", "Tally", "score_part", "unreadable_in"]

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
_FEWER: Final = "fewer rows than it should have"


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
            yield show_path(source), _decoded(held)

    seen = [found for found, _ in _recogniser(model, plan.job).predict_opened(opened())]
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


def unreadable_in(plan: Plan, numbers: Iterable[int]) -> int:
    """Count the images of finished parts that could not be read."""
    files, root = locate(plan.out)
    count = 0
    for number in numbers:
        with files.open_input_file(f"{root}/{part_name(number)}") as file:
            about = pq.ParquetFile(file).metadata
        for group in map(about.row_group, range(about.num_row_groups)):
            if not group.num_rows:
                continue  # an empty table has its part, too
            columns = map(group.column, range(group.num_columns))
            errors = next(column for column in columns if column.path_in_schema == "error")
            count += group.num_rows - errors.statistics.null_count
    return count


def _images(plan: Plan, number: int) -> Iterator[tuple[str, int | None, bytes | ImageError]]:
    """Yield name, row and bytes of each image, or the reason why the bytes cannot be had."""
    files, _ = locate(plan.job.source)
    for path, start, stop in plan.part(number).pieces:
        if start is None or stop is None:
            yield path, None, _file_bytes(files, path)
            continue
        try:
            file = files.open_input_file(os.fsencode(path))
            table = pq.ParquetFile(file)
        except DAMAGED as error:
            if not is_lasting(error, files, path):
                raise
            yield from ((path, row, _unreadable(path, error)) for row in range(start, stop))
            continue
        with file:
            lasting = partial(is_lasting, files=files, path=path)
            yield from _table_images(table, path, plan.job.column, start, stop, lasting)


def _file_bytes(files: fs.FileSystem, path: str) -> bytes | ImageError:
    try:
        with files.open_input_file(os.fsencode(path)) as file:
            held: bytes = file.read()
    except OSError as error:
        if error.errno is None and not is_lasting(error, files, path):
            raise  # the store does not answer: the part is to be done again
        return _unreadable(path, error)
    return held


def _unreadable(path: str, problem: object) -> ImageError:
    reason = " ".join(str(problem).split())
    return ImageError(show_path(f"not a readable file: {path} ({reason})"))


def _table_images(
    table: pq.ParquetFile,
    path: str,
    column: str,
    start: int,
    stop: int,
    lasting: Callable[[Exception], bool],
) -> Iterator[tuple[str, int, bytes | ImageError]]:
    """Read the row groups that a stretch of rows touches, a batch in memory at a time.

    Damage costs the rest of its row group; the next one is read. What is not ``lasting`` is raised.
    """
    first = 0
    for group in range(table.num_row_groups):
        end = first + table.metadata.row_group(group).num_rows
        if first < stop and end > start:
            row, last = first, min(end, stop)
            problem: object = _FEWER
            try:
                for batch in table.iter_batches(_TOGETHER, row_groups=[group], columns=[column]):
                    for value in batch.column(0).to_pylist():
                        if start <= row < last:
                            yield path, row, _value_bytes(value)
                        row += 1
            except DAMAGED as error:
                if not lasting(error):
                    raise
                problem = error
            for lost in range(max(row, start), last):
                yield path, lost, _unreadable(path, problem)
        first = end
    for lost in range(max(first, start), stop):
        yield path, lost, _unreadable(path, _FEWER)


def _value_bytes(value: Any) -> bytes | ImageError:
    # Tables of Hugging Face's datasets hold {bytes, path}.
    held = value.get("bytes") if isinstance(value, dict) else value
    return held if isinstance(held, bytes) else ImageError("no bytes of an image there")


def _decoded(held: bytes | ImageError) -> NDArray[np.uint8] | ImageError:
    try:
        return held if isinstance(held, ImageError) else read_image(held)
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
def _recogniser(model: bytes, job: Job) -> Recogniser:
    from mien import load

    detector = make_detector(job.detector, threads=1)  # a worker a core
    if (here := detector_identity(job.detector, detector)) != job.found_by:
        raise DataError(
            f"detector {job.detector!r} is {here} on this machine, and was {job.found_by} when the "
            "plan was made: install the same on all of them"
        )
    folder = Path(tempfile.mkdtemp(prefix="mien-"))
    file = folder / f"{hashlib.sha256(model).hexdigest()[:16]}.onnx"
    file.write_bytes(model)
    try:
        return load(file, detector=detector, threads=1)
    finally:
        file.unlink()
        folder.rmdir()
