"""One folder an emotion, with or without split folders around them."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from mien.data.formats.face_names import BY_NAMES, subject_in, subjects_by_name
from mien.data.formats.finding import folder_of
from mien.data.formats.reading import (
    NO_CODES,
    Format,
    Reading,
    emotion_of_folder,
    emotions_of_folders,
    folder_around,
    image_loader,
    shown,
    split_named,
    split_of,
    split_of_folder,
)
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import find_meaning
from mien.preprocess import InputSpec
from mien.records import Sample

__all__ = ["FOLDER", "sample_in_folder"]

_OF_SYSTEMS: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_MANY: Final = 10
"""Folders are of people or sequences where each emotion has so many: a few may be of anything
(sources, days, strengths), and splits that keep them whole might lack emotions.
"""
_LARGEST: Final = 0.25
"""Of all images; one that has more is none of many people's."""
_TOLD: Final = 8
"""So many folders that mean nothing are named."""


def _read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
    tree = FileTree(source)
    load = image_loader(tree)
    naming = subjects_by_name(tree, codes)
    samples = [sample_in_folder(tree, path, codes, naming) for path in tree.pictured]
    shown_in = {} if naming else _by_folders(samples, codes)
    samples = [replace(each, subject=shown_in.get(each.path, each.subject)) for each in samples]
    if not any(sample.label for sample in samples):
        raise DatasetError(
            f"{source}: {len(samples)} images and videos, none in a folder named after an emotion; "
            "expected EMOTION/x.jpg or SPLIT/EMOTION/x.jpg (emotions: happy, sad, ..., or names "
            "and numbers that --codes explains; splits: train, valid, test)"
        )
    items = ((s, load(s.path)) for s in samples)
    notes = (*_notes(tree, samples, codes, naming), *_notes_of_people(shown_in))
    return Reading(len(samples), items, tree, notes=notes)


def _by_folders(samples: Sequence[Sample], codes: Mapping[str, str]) -> dict[str, str]:
    """Return whom images show, or of what sequence they are, by folders around them.

    Of the folders that name neither an emotion nor a split those of the outermost level count that
    has many in each emotion and no large one (``P001/happy/3.png``, ``happy/000046280/0012.png``,
    ``NI/Strong/P001/happy/3.png``). There may be none.
    """
    labels = {sample.path: sample.label for sample in samples if sample.label}
    others = {path: _unknown_folders(path, codes) for path in labels}
    for level in range(max(map(len, others.values()), default=0)):
        found = {path: names[level] for path, names in others.items() if len(names) > level}
        images = Counter(found.values())
        of_label: dict[str | None, set[str]] = {label: set() for label in labels.values()}
        for path, name in found.items():
            of_label[labels[path]].add(name)
        if (
            min(map(len, of_label.values())) >= _MANY
            and max(images.values()) <= _LARGEST * len(labels)
            and len(found) >= 2 * len(images)
        ):
            return found
    return {}


def _unknown_folders(path: str, codes: Mapping[str, str]) -> list[str]:
    """Return the folders of a path that name neither an emotion nor a split, from the outermost on.

    Below a split that is named they begin with it, as names may begin anew there. Within an
    emotion's folder one whose name only begins as a split's does may be a person's.
    """
    split, within, found = "", False, []
    for folder in path.split("/")[:-1]:
        if find_meaning(folder, codes):
            within = True
        elif named := split_named(folder) if within else split_of_folder(f"{folder}/"):
            split = f"{named}/"
        else:
            found.append(split + folder)
    return found


def _notes_of_people(shown_in: Mapping[str, str]) -> Iterator[str]:
    if shown_in:
        people = sorted({*shown_in.values()})
        yield (
            f"{len(people):,} folders that name neither an emotion nor a split, such as "
            f"{shown(people[0])}, are taken for people or sequences ('subject' in the manifest): "
            "each stays in one split."
        )


def _notes(
    tree: FileTree,
    samples: Sequence[Sample],
    codes: Mapping[str, str],
    naming: re.Pattern[str] | None,
) -> Iterator[str]:
    """Tell which folders mean nothing, what was passed over, and whether names tell people."""
    without = [sample.path for sample in samples if not sample.label]
    differ = [path for path in without if emotions_of_folders(path, codes)]
    if differ:
        yield (
            f"Images in folders of different emotions, which were left out: {len(differ):,}, such "
            f"as those in {shown(folder_of(differ[0]))}: rename the folders that mean no emotion."
        )
    unnamed = Counter(map(folder_around, set(without).difference(differ)))
    del unnamed[""]
    if unnamed:
        told = ", ".join(f"{shown(name)} ({n:,})" for name, n in unnamed.most_common(_TOLD))
        more = f" and {len(unnamed) - _TOLD:,} more" if len(unnamed) > _TOLD else ""
        yield (
            f"Folders that name no emotion: {told}{more}. --codes 'NAME=anger,...' says what they "
            "mean."
        )
    among = {folder_of(sample.path) for sample in samples if sample.label}
    strangers = Counter(
        file.suffix.lower() or "no suffix"
        for file in map(PurePosixPath, tree.strangers)
        if folder_of(str(file)) in among and file.name not in _OF_SYSTEMS
    )
    if strangers:
        told = ", ".join(f"{suffix} {n:,}" for suffix, n in strangers.most_common(_TOLD))
        yield f"Files beside the images whose names are none of images, passed over: {told}."
    if naming:
        yield BY_NAMES


def sample_in_folder(
    tree: FileTree, path: str, codes: Mapping[str, str], naming: re.Pattern[str] | None
) -> Sample:
    """Return an image whose emotion its folder names, and whose person its name, if any does."""
    told, folder = emotions_of_folders(path, codes), folder_around(path)
    emotion = emotion_of_folder(path, codes)
    if told:
        why = f"folders {' and '.join(map(shown, told))} mean different emotions"
    else:
        why = f"folder {shown(folder)} names no emotion" if folder else "in no emotion's folder"
    return Sample(
        path,
        split_of(tree, path),
        emotion,
        excluded=None if emotion else why,
        subject=subject_in(path, naming),
        problem=None if emotion else "bad_label",
    )


def _recognise(tree: FileTree) -> str | None:
    folders = {folder_of(path) for path in tree.pictured}
    emotions = sorted({e for folder in folders if (e := emotion_of_folder(folder))})
    if len(emotions) < 2:
        return None
    return f"folders are named after emotions: {', '.join(emotions)}"


FOLDER = Format(
    "one folder an emotion, with or without train/, valid/, test/ around them",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    coded=True,
)
