"""What every reader of a format shares: what it gives, split names, loaders."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.data.clips import Clip
from mien.data.source import FileTree, MissingImageError
from mien.errors import ImageError
from mien.images import read_image
from mien.labels import find_alias, find_meaning, whole
from mien.preprocess import InputSpec
from mien.records import SPLITS, Sample, Split

__all__ = [
    "FER2013_USAGE",
    "NO_CODES",
    "SPLIT_COLUMNS",
    "SUBJECT_COLUMNS",
    "TABLE_SUFFIXES",
    "Decode",
    "Format",
    "Item",
    "Load",
    "Reading",
    "emotion_of_folder",
    "emotions_of_folders",
    "folder_around",
    "image_loader",
    "missing",
    "most_held_out",
    "mostly",
    "no_image",
    "no_split",
    "open_around",
    "open_tree",
    "shown",
    "split_in_name",
    "split_named",
    "split_of",
    "split_of_folder",
]

Decode = Callable[[], NDArray[np.uint8]]
Load = Decode | Clip
"""How an image is decoded, or the video that some are taken of."""
Item = tuple[Sample, Load]

TABLE_SUFFIXES: Final = frozenset(
    {
        *(".csv", ".tsv", ".jsonl", ".txt", ".lst", ".npy"),
        *(".yaml", ".yml", ".names", ".parquet", ".arrow", ".json", ".xml"),
    }
)
"""The files beside images that some format reads."""

NO_CODES: Mapping[str, str] = MappingProxyType({})
"""What numeric labels mean where nobody says it."""

SPLIT_COLUMNS = ("split", "subset", "usage")
SUBJECT_COLUMNS = (
    "subject",
    "subject_id",
    "person",
    "person_id",
    "participant",
    "participant_id",
    "identity",
    "actor",
    "actor_id",
)
"""What tables call the splits and the people of their images."""

FER2013_USAGE: Mapping[str, Split] = MappingProxyType(
    {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
)
_SPLIT_NAMES: Mapping[str, Split] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training", "train_set", "trainset", "training_set"), "train"),
        **dict.fromkeys(("valid", "val", "dev", "validation", "eval", "publictest"), "valid"),
        **dict.fromkeys(("valid_set", "val_set", "valset", "dev_set", "validation_set"), "valid"),
        **dict.fromkeys(("test", "testing", "test_set", "testset", "privatetest"), "test"),
    }
)
_MOST: Final = 0.9
_LOOKED_AT: Final = 200


@dataclass
class Reading:
    """An opened source. Use as a context manager: it keeps archives open.

    Attributes:
        total: how many items it has.
        items: each a sample and a function that decodes its image or raises `ImageError`, or the
            video that pictures are taken of.
        tree: the files behind it, if any, closed at the end.
        values: the names of the numbers that samples carry in ``Sample.values``.
        words: the names of the words that samples carry in ``Sample.words``.
        notes: what came up while opening it that a user of the dataset should know.
        looked_beyond_table: whether files that no row of a table names are among the items.
        relative_boxes: the samples' boxes are shares of the image's width and height, 0..1, of
            which whoever decodes the image makes pixels.
    """

    total: int
    items: Iterable[Item]
    tree: FileTree | None = None
    values: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    looked_beyond_table: bool = False
    relative_boxes: bool = False

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *_: object) -> None:
        if self.tree is not None:
            self.tree.close()


@dataclass(frozen=True)
class Format:
    """One format that can be imported.

    Attributes:
        says: its layout in a line.
        spec: how its images are packed unless the user asks otherwise.
        read: opens a source; raises `DatasetError` where it does not have the layout. Where
            ``coded``, it takes the keyword ``codes``, too: the emotion of each numeric label.
        recognise: says by what the files of a source show this format, or None; looks at names
            and at the first lines of tables only, and never raises.
        notes: what a user of the dataset should know.
        alone: whether a table by itself can be the source, without its folder.
        coded: whether its labels may be numbers, whose meaning the user says.
    """

    says: str
    spec: InputSpec
    read: Callable[..., Reading]
    recognise: Callable[[FileTree], str | None]
    notes: tuple[str, ...] = ()
    alone: bool = False
    coded: bool = False


@contextmanager
def open_tree(source: Path) -> Iterator[FileTree]:
    """Open the files of a source, tables too; they stay open unless the block fails.

    Raises:
        DatasetError: there is no folder, archive or table.
    """
    tree = FileTree(source, also=TABLE_SUFFIXES)
    try:
        yield tree
    except BaseException:
        tree.close()
        raise


@contextmanager
def open_around(source: Path, suffixes: Collection[str]) -> Iterator[tuple[FileTree, str | None]]:
    """Open a source as `open_tree` does, where a table by itself stands for its folder.

    Args:
        source: the folder, archive or table.
        suffixes: of tables that may.

    Gives the files, and the path of the table where one was named.
    """
    named = source.is_file() and source.suffix.lower() in suffixes
    with open_tree(source.parent if named else source) as tree:
        yield tree, source.name if named else None


def shown(cell: str) -> str:
    """Return what a table says, in quotes and short enough for a message."""
    return repr(cell if len(cell) <= 40 else f"{cell[:37]}...")


def split_named(name: str) -> Split | None:
    """Return the split that a name means (``val_set``, ``Test Set``), in any case, or None."""
    name = re.sub(r"[\s_-]+", "_", name.strip().lower())
    return _SPLIT_NAMES.get(re.sub(r"^obj_(\w+)_data$", r"\1", name))  # as CVAT calls folders


def split_in_name(name: str) -> Split | None:
    """Return the split that a word of a file's name means (``instances_val2017``), if just one."""
    named = {split_named(word) for word in re.split(r"[\W\d_]+", name)} - {None}
    return named.pop() if len(named) == 1 else None


def no_split(column: str, cell: str) -> str:
    """Say why a row is left out whose split `split_named` does not know."""
    return f"{column} {shown(cell)} is none of train, valid and test"


def split_of_folder(path: str) -> Split | None:
    """Return the split that the outermost telling folder of a path names, or None.

    A folder that is called after a split goes before one whose name only begins with it, which
    counts around those of emotions only: within, it may be a person's, ``happy/Dev Patel``.
    """
    folders = path.split("/")[:-1]
    around = takewhile(lambda folder: find_alias(folder) is None, folders)
    splits = chain(map(split_named, folders), map(_split_begun, around))
    return next(filter(None, splits), None)


def _split_begun(name: str) -> Split | None:
    """Return the split that a name begins with (``Train_Aligned_Faces``), if it names no other."""
    words = [split_named(word) for word in re.split(r"[\s_-]+", name.strip())]
    return words[0] if len({*words} - {None}) == 1 else None


def most_held_out(splits: Iterable[Split | None]) -> Split | None:
    """Return the split of what several name: what one holds out, no other may learn from."""
    return max(splits, key=lambda split: SPLITS.index(split) if split else -1)


def split_of(tree: FileTree, path: str) -> Split | None:
    """Return the split that a file's folders name, else its archive (test.zip), or None."""
    return split_of_folder(path) or split_of_folder(f"{tree.archive(path)}/")


def emotion_of_folder(path: str, codes: Mapping[str, str] = NO_CODES) -> str | None:
    """Return the emotion that the folders of a path name; None: they name none, or several."""
    told = set(emotions_of_folders(path, codes).values())
    return told.pop() if len(told) == 1 else None


def emotions_of_folders(path: str, codes: Mapping[str, str] = NO_CODES) -> dict[str, str]:
    """Return the emotion of each folder of a path that names one, from the outermost on.

    Numbers tell only where there are codes for them, and no folder has a name that tells.
    """
    folders = path.split("/")[:-1]
    told = {folder: emotion for folder in folders if (emotion := find_meaning(folder, codes))}
    named = {folder: emotion for folder, emotion in told.items() if whole(folder) is None}
    return named or told


def folder_around(path: str) -> str:
    """Return the name of the folder that a file lies in, empty at the top."""
    return f"/{path}".split("/")[-2]


def mostly(pattern: re.Pattern[str], names: Sequence[str]) -> bool:
    """Whether nine of ten file names, and one at least, follow a pattern.

    A few strangers among a data set's files make it no other data set.
    """
    some = names[:: max(1, len(names) // _LOOKED_AT)]  # all of many would take seconds
    if not any(map(pattern.fullmatch, some)):
        return False
    follow = sum(pattern.fullmatch(name) is not None for name in names)
    return follow > 0 and follow >= _MOST * len(names)


def image_loader(tree: FileTree) -> Callable[[str], Load]:
    """Return what makes a function that decodes one file of a tree, of a video a `Clip`.

    The last image is kept: its next face needs no decoding.
    """
    clips = frozenset(tree.clips)

    @lru_cache(maxsize=1)
    def read(path: str) -> NDArray[np.uint8]:
        return read_image(tree.read(path))

    return lambda path: Clip(tree, path) if path in clips else partial(read, path)


def missing(reason: str = "no such image in the source") -> Decode:
    """Return a function that raises `MissingImageError` with the reason."""
    return no_image(reason, MissingImageError)


def no_image(reason: str, kind: type[ImageError] = ImageError) -> Decode:
    """Return a function that raises `ImageError`, or a kind of it, with the reason."""

    def load() -> NDArray[np.uint8]:
        raise kind(reason)

    return load
