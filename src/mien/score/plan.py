"""What there is to read, cut into parts, and written down before the first is begun.

A source is a folder of images, a Parquet file or folder with the images' bytes in a column, or
either in an object store (``s3://``, ``gs://``): anything that pyarrow's file systems open.
Results of earlier scoring among them are no source.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, Final, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from mien.errors import DataError, UsageError
from mien.images import IMAGE_SUFFIXES
from mien.places import DAMAGED, is_lasting, left_by_writing, locate, whole_file

__all__ = ["Job", "Part", "Plan", "part_name", "plan_scores"]

PART_IMAGES: Final = 2_048
PLAN_NAME: Final = "_plan"
_JOB_KEY: Final = b"mien.job"
_SUFFIXES: Final = IMAGE_SUFFIXES | {".parquet"}
_ROWS: Final = pa.schema(
    # Not every file's name is UTF-8.
    [("path", pa.binary()), ("start", pa.int64()), ("stop", pa.int64()), ("images", pa.int64())]
)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done with every image. Results of two different jobs never mix.

    Attributes:
        source: a path, absolute, or an address.
        column: of a Parquet source, the column that holds the images' bytes.
        model: its name, told in the results' metadata.
        fingerprint: of the model's file.
        detector: a name or file that finds the faces.
        found_by: what that name or file means, by `mien.detect.detector_identity`: another machine
            may have others installed.
    """

    source: str
    column: str
    model: str
    fingerprint: str
    detector: str
    found_by: str


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the work.

    Attributes:
        number: from 0.
        pieces: image files, or parts of Parquet files: path, first row, row after the last; both
            None for an image file.
    """

    number: int
    pieces: tuple[tuple[str, int | None, int | None], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A written plan: which parts there are, and which of them are done.

    Attributes:
        out: where the plan and the results lie.
        job: what is done.
        sizes: the number of images in each part.
        new_files: how many files have come to the source since the plan was written; they are not
            in it. Counted in folders of this machine only.
    """

    out: str
    job: Job
    sizes: tuple[int, ...]
    new_files: int = 0

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(self.sizes)

    def missing(self) -> list[int]:
        """Return the numbers of the parts that are not done."""
        files, root = locate(self.out)
        done = {
            PurePosixPath(info.path).name for info in files.get_file_info(fs.FileSelector(root))
        }
        return [number for number in range(len(self.sizes)) if part_name(number) not in done]

    def part(self, number: int) -> Part:
        """Read one part of the plan: a row group of its file."""
        files, root = locate(self.out)
        with files.open_input_file(f"{root}/{PLAN_NAME}") as file:
            rows = pq.ParquetFile(file).read_row_group(number).to_pylist()
        return Part(
            number, tuple((os.fsdecode(row["path"]), row["start"], row["stop"]) for row in rows)
        )


def part_name(number: int) -> str:
    """Return the name of a part's file."""
    return f"part-{number:06d}.parquet"


def plan_scores(job: Job, out: str) -> Plan:
    """Cut a source into parts and write the plan, or read the one that was written before.

    Args:
        job: what is to be done.
        out: a folder of Parquet parts, made where it is not there; path or address.

    Raises:
        DataError: nothing to read, or the output cannot be written.
        UsageError: the output holds other results, or the Parquet column is not there.
    """
    files, root = locate(out)
    plan = f"{root}/{PLAN_NAME}"
    begun = files.get_file_info(plan).type is not fs.FileType.NotFound
    if not begun:
        there = files.get_file_info(fs.FileSelector(root, allow_not_found=True))
        if not all(left_by_writing(info.base_name, re.escape(PLAN_NAME)) for info in there):
            raise UsageError(f"{out}: holds other files; choose a new --out")
        for info in there:
            files.delete_file(info.path)
        files.create_dir(root)
        _write_plan(files, plan, job)
    with files.open_input_file(plan) as file:
        parquet = pq.ParquetFile(file)
        made = Job(**json.loads(parquet.schema_arrow.metadata[_JOB_KEY]))
        groups = (parquet.read_row_group(i, ["images"]) for i in range(parquet.num_row_groups))
        sizes = tuple(sum(group.column("images").to_pylist()) for group in groups)
    if made != job:
        other = next(k for k, v in asdict(made).items() if v != getattr(job, k))
        raise UsageError(
            f"{out}: was begun with {other} {getattr(made, other)!r}, not "
            f"{getattr(job, other)!r}; choose a new --out"
        )
    return Plan(out, job, sizes, _count_new(files, plan, job) if begun else 0)


def _write_plan(files: fs.FileSystem, path: str, job: Job) -> None:
    """Write the plan, one row group a part; it has its name only once it is whole."""
    source, root = locate(job.source)
    parts = _parts(source, root, job)
    first = next(parts, None)
    if first is None:
        raise DataError(
            f"{job.source}: no image and no Parquet file there; expected images "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}) or .parquet, not results of 'mien score'"
        )
    metadata: dict[bytes | str, bytes | str] = {_JOB_KEY: json.dumps(asdict(job)).encode()}
    schema = _ROWS.with_metadata(metadata)
    with (
        whole_file(files, path) as file,
        pq.ParquetWriter(file, schema) as writer,
    ):
        for part in chain((first,), parts):
            writer.write_table(pa.Table.from_pylist(part, schema=schema))


def _count_new(files: fs.FileSystem, path: str, job: Job) -> int:
    """Count the files of a folder that are not in its plan.

    An object store is not asked: to list millions of names there takes minutes.
    """
    source, root = locate(job.source)
    if not isinstance(source, fs.LocalFileSystem):
        return 0
    try:
        new = set(_wanted(_local_files(root), root))
    except OSError:
        # A file, or a folder that was taken away after it was read: no reason not to go on.
        return 0
    with files.open_input_file(path) as file:
        parquet = pq.ParquetFile(file)
        for number in range(parquet.num_row_groups):
            planned = parquet.read_row_group(number, ["path"]).column("path").to_pylist()
            new.difference_update(map(os.fsdecode, planned))
    return len(new)


def _parts(source: fs.FileSystem, root: str, job: Job) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each part: image files by the thousands, then stretches of tables."""
    images, tables = [], []
    for path in _files(source, root, job.source):
        suffix = PurePosixPath(path).suffix.lower()
        if suffix == ".parquet":
            tables.append(path)
        elif suffix in IMAGE_SUFFIXES:
            images.append(path)
    waiting = iter(images)
    while paths := list(islice(waiting, PART_IMAGES)):
        yield [
            {"path": os.fsencode(path), "start": None, "stop": None, "images": 1} for path in paths
        ]
    for path in tables:
        try:
            rows = _table_rows(source, path, job.column)
        except DataError:
            if path == root:
                raise
            # The rest goes on; whoever reads this row finds it unreadable, and says why.
            rows = 1
        # An empty table has its part, too: a file that is not in the plan counts as new.
        for start in range(0, max(rows, 1), PART_IMAGES):
            stop = min(start + PART_IMAGES, rows)
            yield [
                {"path": os.fsencode(path), "start": start, "stop": stop, "images": stop - start}
            ]


def _files(source: fs.FileSystem, root: str, name: str) -> list[str]:
    info = source.get_file_info(root)
    if info.type is fs.FileType.NotFound:
        raise DataError(f"{name}: no such file or folder")
    if info.type is fs.FileType.File:
        return [info.path]
    if isinstance(source, fs.LocalFileSystem):
        return _wanted(_local_files(root), root)
    found = source.get_file_info(fs.FileSelector(root, recursive=True))
    return _wanted((entry.path for entry in found if entry.type is fs.FileType.File), root)


def _local_files(root: str) -> Iterator[str]:
    """Yield the files of a folder and all below it, also behind links, each folder once.

    pyarrow lists none whose name is not UTF-8.
    """

    def refuse(error: OSError) -> NoReturn:
        raise error

    tops, entered = [Path(root)], set[tuple[int, int]]()
    for top in tops:
        for folder, inner, names in os.walk(top, onerror=refuse):
            found = Path(folder).stat()
            if (identity := (found.st_dev, found.st_ino)) in entered:
                inner.clear()  # a link led here, perhaps from within
                continue
            entered.add(identity)
            tops += sorted(path for name in inner if (path := Path(folder, name)).is_symlink())
            for name in names:
                if (path := Path(folder, name)).is_file():
                    yield path.as_posix()


def _wanted(paths: Iterable[str], root: str) -> list[str]:
    """Choose the images and tables of a folder that are neither hidden nor results, in order."""
    found = sorted(paths)
    results = tuple(
        path.removesuffix(PLAN_NAME) for path in found if path.endswith(f"/{PLAN_NAME}")
    )
    return [
        path
        for path in found
        if PurePosixPath(path).suffix.lower() in _SUFFIXES
        and not path.startswith(results)
        and not _is_hidden(path.removeprefix(root))
    ]


def _is_hidden(path: str) -> bool:
    """Tell whether others pass over a file, by its name or that of a folder above it."""
    if "/." in path:
        return True
    # Of tables only: cameras begin the names of some photographs with an underscore.
    return "/_" in path and path.lower().endswith(".parquet")


def _table_rows(source: fs.FileSystem, path: str, column: str) -> int:
    try:
        with source.open_input_file(os.fsencode(path)) as file:
            parquet = pq.ParquetFile(file)
            schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
    except DAMAGED as error:
        if not is_lasting(error, source, path):
            raise
        raise DataError(f"{path}: not a readable Parquet file ({error})") from None
    if column not in schema.names:
        raise UsageError(
            f"{path}: no column {column!r}; expected one of {', '.join(schema.names)}: name it "
            "with --column"
        )
    return int(rows)
