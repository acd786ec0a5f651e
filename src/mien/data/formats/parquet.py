"""Tables as Hugging Face lays them out: images as bytes, labels named in the schema.

They are Parquet, or Arrow as ``save_to_disk`` writes it.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mien.data.formats.columns import find_box, plain
from mien.data.formats.reading import (
    NO_CODES,
    SPLIT_COLUMNS,
    SUBJECT_COLUMNS,
    Format,
    Item,
    Load,
    Reading,
    missing,
    no_split,
    open_tree,
    shown,
    split_in_name,
    split_named,
    split_of,
)
from mien.data.formats.tables import are_shares, box_by, numbers
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.images import read_image
from mien.labels import find_meaning
from mien.preprocess import InputSpec
from mien.records import Sample, Split

__all__ = ["PARQUET"]

_IMAGES = ("image", "img", "img_bytes", "image_bytes")
_LABELS = ("label", "labels", "emotion")
_ARROW: Final = ".arrow"
_BATCH_ROWS: Final = 8
"""A Parquet file of a kilobyte may hold one image of megabytes for each of its rows."""


@dataclass(frozen=True)
class _File:
    path: str
    rows: int
    image: str
    label: str
    names: Sequence[str] | None  # what its label ids mean; None: its labels are names, or coded
    split: Split | None
    splits: str | None  # the column of each row's split, where there is one
    subjects: str | None  # likewise, the person's
    box: tuple[str, ...]
    form: str  # what the four numbers of the box are
    left_out: Sequence[str]


def _read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
    with open_tree(source) as tree:
        paths = _tables(tree)
        if not paths:
            raise DatasetError(
                f"{source}: no Parquet or Arrow file here; expected train-00000-of-00001.parquet, "
                "or train/data-00000-of-00001.arrow, and so on"
            )
        files = [_open(tree, path, codes) for path in paths]
        left_out = sorted({name for file in files for name in file.left_out})
        notes = (f"Columns left out: {', '.join(left_out)}.",) if left_out else ()
        boxes = {name: None for file in files for name in file.box}
        if boxes:
            notes = (*notes, f"Faces by the boxes in {', '.join(boxes)}.")
        rows = sum(file.rows for file in files)
        shares = are_shares(edges for file in files for edges in _edges(tree, file))
        return Reading(rows, _items(tree, files, codes), tree, notes=notes, relative_boxes=shares)


def _tables(tree: FileTree) -> list[str]:
    """Return the tables of a source: Arrow only without Parquet, and if not of indices alone."""
    if parquet := [path for path in tree.others if path.lower().endswith(".parquet")]:
        return parquet
    arrow = (path for path in tree.others if path.lower().endswith(_ARROW))
    return [path for path in arrow if _holds(tree, path, (*_IMAGES, *_LABELS))]


def _holds(tree: FileTree, path: str, columns: Collection[str]) -> bool:
    """Whether a table has one of some columns, or cannot be read at all."""
    try:
        with _stream(tree, path) as stream:
            return not {*pa.ipc.open_stream(stream).schema.names}.isdisjoint(columns)
    except DatasetError:
        return True


def _open(tree: FileTree, path: str, codes: Mapping[str, str]) -> _File:
    where = tree.where(path)
    schema, rows = _schema(tree, path)
    splits = next((name for name in schema.names if _is_of_splits(tree, path, schema, name)), None)
    (image, *_), labels = (_columns(schema, known, where) for known in (_IMAGES, _LABELS))
    if not _holds_bytes(schema.field(image).type):
        raise DatasetError(
            f"{where}: column {image!r} is {shown(str(schema.field(image).type))}, expected the "
            "bytes of image files, or a struct with them"
        )
    # Ids without names may lie beside names.
    label = next((name for name in labels if _names_emotions(schema, name)), labels[0])
    names = _class_names(schema, label)
    coded = bool(codes) and pa.types.is_integer(_label_type(schema, label))
    if names is None and not coded and not _holds_text(schema, label):
        raise DatasetError(
            f"{where}: labels are {_label_type(schema, label)} without names; expected names, or "
            "ids that the schema names (ClassLabel) or --codes explains"
        )
    subjects = next(
        (n for n in schema.names if n.lower() in SUBJECT_COLUMNS and _may_name(schema, n)), None
    )
    box, form = find_box({plain(name): name for name in schema.names})
    box = box if _may_be_box(schema, box) else ()
    used = {image, label, splits, subjects, *box}
    left_out = [name for name in schema.names if name not in used]
    split = _split(tree, path)
    return _File(path, rows, image, label, names, split, splits, subjects, box, form, left_out)


def _columns(schema: pa.Schema, known: Sequence[str], where: str) -> list[str]:
    found = [name for name in known if name in schema.names]
    if not found:
        raise DatasetError(
            f"{where}: column {' or '.join(map(repr, known))} is missing; found "
            f"{shown(', '.join(schema.names))}"
        )
    return found


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _names_emotions(schema: pa.Schema, label: str) -> bool:
    return _holds_text(schema, label) or _class_names(schema, label) is not None


def _label_type(schema: pa.Schema, label: str) -> pa.DataType:
    kind = schema.field(label).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _holds_text(schema: pa.Schema, column: str) -> bool:
    kind = _label_type(schema, column)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_of_splits(tree: FileTree, path: str, schema: pa.Schema, column: str) -> bool:
    """Whether a column is called as one of splits; what may have other words has none."""
    if column.lower() not in SPLIT_COLUMNS or not _holds_text(schema, column):
        return False
    if column.lower() == "split":
        return True
    return all(split_named(cell) for (cell,) in _cells(tree, path, (column,)) if cell)


def _may_name(schema: pa.Schema, column: str) -> bool:
    """Whether a column holds what people may be called by."""
    return _holds_text(schema, column) or bool(pa.types.is_integer(_label_type(schema, column)))


def _class_names(schema: pa.Schema, label: str) -> Sequence[str] | None:
    if not pa.types.is_integer(_label_type(schema, label)):
        return None
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return names if isinstance(names, list) and all(isinstance(n, str) for n in names) else None


def _split(tree: FileTree, path: str) -> Split | None:
    return split_in_name(path.rpartition("/")[2]) or split_of(tree, path)


def _items(tree: FileTree, files: Sequence[_File], codes: Mapping[str, str]) -> Iterator[Item]:
    for file in files:
        for row, (image, given, split, subject, *cells) in enumerate(_rows(tree, file)):
            label, excluded = _emotion(given, file.names, codes)
            edges = _numbers(cells)
            box = box_by(file.form, edges)
            if label and edges != [] and box is None:
                excluded = "its face box is no box"
            if split and not split_named(split):
                # Left open, it might land in the wrong one.
                excluded = no_split(file.splits or "", split)
            sample = Sample(
                f"{file.path}/{row:05d}",
                split_named(split) if split else file.split,
                label,
                excluded=excluded,
                box=box,
                given=None if given is None else str(given),
                subject=None if subject in {None, ""} else str(subject),
                problem="bad_label" if excluded else None,
            )
            yield sample, _loader(image)


def _numbers(cells: Sequence[Any]) -> list[float] | None:
    """Return the four numbers of a box, of four columns or of one; nothing where there is none.

    None where they are no numbers.
    """
    if len(cells) == 1 and isinstance(cells[0], str):
        cells = re.split(r"[\s,;]+", bare) if (bare := cells[0].strip("[]() ")) else ()
    elif len(cells) == 1:
        cells = cells[0] or ()
    if all(value is None or str(value) == "nan" for value in cells):
        return []
    return numbers(str(value) for value in cells)


def _may_be_box(schema: pa.Schema, columns: Sequence[str]) -> bool:
    """Whether columns are of numbers, or the only one of lists of them, or of text."""
    kinds = [schema.field(name).type for name in columns]
    if len(kinds) == 1 and pa.types.is_list(kinds[0]):
        kinds = [kinds[0].value_type]
    elif len(kinds) == 1:
        return bool(pa.types.is_string(kinds[0]))
    return all(pa.types.is_floating(kind) or pa.types.is_integer(kind) for kind in kinds)


def _edges(tree: FileTree, file: _File) -> Iterator[list[float]]:
    """Give the numbers of all boxes; of Parquet no images are read for that."""
    if file.box:
        for cells in _cells(tree, file.path, file.box):
            if edges := _numbers(cells):
                yield edges


def _rows(tree: FileTree, file: _File) -> Iterator[tuple[Any, ...]]:
    """Give each row's image, label, split, subject and box; None for what there is no column of."""
    wanted = (file.image, file.label, file.splits, file.subjects, *file.box)
    return _cells(tree, file.path, wanted)


def _cells(tree: FileTree, path: str, columns: Sequence[str | None]) -> Iterator[tuple[Any, ...]]:
    with _stream(tree, path) as stream:
        for batch in _batches(stream, path, [name for name in columns if name]):
            cells = (
                batch.column(name).to_pylist() if name else [None] * batch.num_rows
                for name in columns
            )
            yield from zip(*cells, strict=True)


def _schema(tree: FileTree, path: str) -> tuple[pa.Schema, int]:
    """Return the schema of a table and how many rows it has."""
    with _stream(tree, path) as stream:
        if not path.lower().endswith(_ARROW):
            parquet = pq.ParquetFile(stream)
            return parquet.schema_arrow, parquet.metadata.num_rows
        reader = pa.ipc.open_stream(stream)
        return reader.schema, sum(batch.num_rows for batch in reader)


def _batches(stream: IO[bytes], path: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    if not path.lower().endswith(_ARROW):
        yield from pq.ParquetFile(stream).iter_batches(_BATCH_ROWS, columns=columns)
        return
    for batch in pa.ipc.open_stream(stream):
        wanted = batch.select(columns)
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            yield wanted.slice(start, _BATCH_ROWS)


@contextmanager
def _stream(tree: FileTree, path: str) -> Iterator[IO[bytes]]:
    """Open a table; what is damaged in it raises `DatasetError`."""
    with tree.open(path) as stream:
        try:
            yield stream
        except pa.ArrowException as error:
            why = " ".join(str(error).split())[:200]
            raise DatasetError(f"{tree.where(path)}: damaged table ({why})") from None


def _emotion(
    given: str | int | None, names: Sequence[str] | None, codes: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """Return the emotion that a label means, or None and why it means none."""
    if given is None or given == -1:
        return None, "no label"
    if names is not None:
        if not isinstance(given, int) or not 0 <= given < len(names):
            return None, f"label {given} is none of 0 to {len(names) - 1}"
        given = names[given]
    label = find_meaning(str(given), codes)
    return label, None if label else f"label {shown(str(given))} names no emotion"


def _loader(image: Any) -> Load:
    data = image.get("bytes") if isinstance(image, dict) else image
    return (lambda: read_image(bytes(data))) if data else missing("its row holds no image")


def _recognise(tree: FileTree) -> str | None:
    for path in _tables(tree)[:1]:
        with suppress(DatasetError):
            _open(tree, path, NO_CODES)
            return f"{path} holds images and labels"
    return None


PARQUET = Format(
    "Hugging Face's Parquet (train-00000-of-00001.parquet) or Arrow of images and labels",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=("Label ids are read by the names in the file's own schema, or by --codes.",),
    alone=True,
    coded=True,
)
