"""One folder an emotion, with or without split folders around them."""

import re
from collections.abc import Mapping
from pathlib import Path

from mien.data.formats.face_names import subject_in, subjects_by_name
from mien.data.formats.finding import folder_of
from mien.data.formats.reading import (
    NO_CODES,
    Format,
    Reading,
    emotion_of_folder,
    image_loader,
    split_of,
)
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.preprocess import InputSpec
from mien.records import Sample

__all__ = ["FOLDER", "sample_in_folder"]


def _read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
    tree = FileTree(source)
    load = image_loader(tree)
    naming = subjects_by_name(tree, codes)
    samples = [sample_in_folder(tree, path, codes, naming) for path in tree.images]
    if not any(sample.label for sample in samples):
        raise DatasetError(
            f"{source}: {len(samples)} images, none in a folder named after an emotion; expected "
            "EMOTION/x.jpg or SPLIT/EMOTION/x.jpg (emotions: happy, sad, ..., or numbers that "
            "--codes explains; splits: train, valid, test)"
        )
    return Reading(len(samples), ((s, load(s.path)) for s in samples), tree)


def sample_in_folder(
    tree: FileTree, path: str, codes: Mapping[str, str], naming: re.Pattern[str] | None
) -> Sample:
    """Return an image whose emotion its folder names, and whose person its name, if any does."""
    emotion = emotion_of_folder(path, codes)
    return Sample(
        path,
        split_of(tree, path),
        emotion,
        excluded=None if emotion else "not in an emotion's folder",
        subject=subject_in(path, naming),
    )


def _recognise(tree: FileTree) -> str | None:
    folders = {folder_of(path) for path in tree.images}
    emotions = sorted({e for folder in folders if (e := emotion_of_folder(folder))})
    if len(emotions) < 2:
        return None
    return f"folders are named after emotions: {', '.join(emotions)}"


FOLDER = Format(
    "one folder an emotion, with or without train/, valid/, test/ around them",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=(
        "Where the files are named as those of CK+, KDEF or JAFFE, each person stays in one split.",
    ),
    coded=True,
)
