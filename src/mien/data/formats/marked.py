"""Images in which faces are marked, as detectors learn from them: each face is a sample."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, takewhile
from pathlib import Path
from typing import Final, NamedTuple

from mien.data.formats.columns import every_csv
from mien.data.formats.finding import Place, folded, inside, unlisted
from mien.data.formats.marks import SEVERAL, MarkedFace, agreed
from mien.data.formats.reading import (
    Item,
    Reading,
    emotion_of_folder,
    missing,
    most_held_out,
    shown,
)
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.records import Sample, Split

__all__ = [
    "LOOKED_AT",
    "ONE_A_MARK",
    "Marked",
    "is_of_few",
    "read_marked",
    "recognised_by",
    "samples_of",
]

LOOKED_AT: Final = 200
"""So many of them tell what is marked in a source's images."""
_NAMES_TOLD: Final = 12
_ANOTHERS: Final = "the only image of this name is that of another path"
ONE_A_MARK: Final = "Each marked face is an image of its own, cropped by its box."


class Marked(NamedTuple):
    """An image and the faces that are marked in it.

    Attributes:
        place: where it is.
        split: its split.
        faces: those in it.
        size: its size as the source says.
        named: the folder of the table that names it, and its path as that writes it; None: its
            labels are in a file of its own.
    """

    place: Place
    split: Split | None
    faces: Sequence[MarkedFace]
    size: tuple[int, int] | None = None
    named: tuple[str, str] | None = None


def read_marked(
    source: Path,
    tree: FileTree,
    images: Iterable[Marked],
    *,
    alone: bool = False,
    notes: Sequence[str] = (),
) -> Reading:
    """Return the faces of images as a reading, with the images that no label names.

    Args:
        source: as messages name it.
        tree: its files.
        images: those that its labels name; one that several name gets what they say together.
        alone: a file of labels was named by itself: beside it may lie anything.
        notes: what its user should know.

    Raises:
        DatasetError: what is marked has names, and none of them is an emotion's.
    """
    sure = list(_sure(images))
    marked = list(_merged(sure))
    faces = [face for image in marked for face in image.faces]
    _expect_emotions(source, faces)
    listed = {image.place.path for image in marked}
    others = [] if alone else [path for path in tree.images if path not in listed]
    return Reading(
        len(faces) + len(others),
        chain(samples_of(marked), unlisted(tree, others)),
        tree,
        notes=(*notes, *_notes(sure, marked)),
        looked_beyond_table=not alone,
    )


def _notes(images: Sequence[Marked], merged: Sequence[Marked]) -> Iterator[str]:
    if by_name := sum(image.place.located == "name" for image in merged):
        yield (
            "Images that were found by their names, or by the end of their paths: "
            f"{by_name:,} ('located' in the manifest)."
        )
    if several := len(images) - len(merged):
        yield (
            f"Images that several files, or several entries of one, mark: {several:,}. Each face "
            "counts once, and what is said of it differently are votes."
        )


def _sure(images: Iterable[Marked]) -> Iterator[Marked]:
    """Give images, without the place of those that another name in the source fits better.

    Two sets of images may have the same names, and the images of one be lacking.
    """
    listed = list(images)
    rivals: dict[str, list[_Fit]] = defaultdict(list)
    fits = [_fit(image) for image in listed]
    for image, fit in zip(listed, fits, strict=True):
        if fit is not None:
            rivals[image.place.path].append(fit)
    for image, fit in zip(listed, fits, strict=True):
        if fit is None or not any(map(fit.is_worse_than, rivals[image.place.path])):
            yield image
        else:
            folder, name = image.named or ("", "")
            where = inside(name, folder) or name
            yield image._replace(place=Place(where, None, missing(_ANOTHERS)))


class _Fit(NamedTuple):
    """How an image lies to the path that a table has for it.

    Attributes:
        alike: how many of their last parts are the same.
        differs: whether the path has a part before these: it means another folder.
        folder: the table's.
        within: whether the image lies in it.
    """

    alike: int
    differs: bool
    folder: str
    within: bool

    def is_worse_than(self, other: "_Fit") -> bool:
        """Whether another path than this one means the image."""
        elsewhere = self.differs and self.alike < other.alike
        return elsewhere or (other.within and other.folder != "" and not self.within)


def _fit(image: Marked) -> _Fit | None:
    """Return how an image lies to its path; None: it is not there, or has none."""
    if image.named is None or not image.place.located:
        return None
    folder, name = image.named
    path = image.place.path
    if image.place.located == "path":
        return _Fit(len(path), False, folder, path.startswith(folder))
    said = inside(name) or name.replace("\\", "/")
    place, parts = (folded(each).split("/")[::-1] for each in (path, said))
    alike = len([*takewhile(lambda pair: pair[0] == pair[1], zip(place, parts, strict=False))])
    return _Fit(alike, len(parts) > alike, folder, path.startswith(folder))


def _merged(images: Iterable[Marked]) -> Iterator[Marked]:
    """Put together what several files mark in one image, each face once."""
    of_one: dict[object, list[Marked]] = defaultdict(list)
    for image in images:
        # What is not there is nobody else's.
        of_one[image.place.path if image.place.located else object()].append(image)
    for same in of_one.values():
        if len(same) == 1:
            yield same[0]
            continue
        split = most_held_out(image.split for image in same)
        yield same[0]._replace(split=split, faces=agreed([image.faces for image in same]))


def is_of_few(tree: FileTree, marked: int) -> bool:
    """Whether so few of a source's images are marked that it is about something else.

    That is where folders of emotions or tables say more of them.
    """
    if 2 * marked >= min(len(tree.images), LOOKED_AT):
        return False
    return bool(every_csv(tree)) or any(map(emotion_of_folder, tree.images))


def recognised_by(files: Iterable[tuple[str, Sequence[MarkedFace]]]) -> str | None:
    """Say by which mark files show that they are of emotions, or return None.

    Half of what they mark has to be called by one: of strangers' files a few may have such words.

    Args:
        files: the path of each, and what it marks.
    """
    marks = [(path, face) for path, faces in files for face in faces if face.given]
    told = [(path, face) for path, face in marks if face.label]
    if not told or 2 * len(told) < len(marks):
        return None
    path, face = told[0]
    return f"{path} marks a face as {shown(face.given or '')}"


def _expect_emotions(source: Path, faces: Sequence[MarkedFace]) -> None:
    names = {face.given for face in faces if face.given}
    told = any(face.label or face.votes or SEVERAL in (face.excluded or "") for face in faces)
    if names and not told:
        raise DatasetError(
            f"{source}: what is marked is called {', '.join(sorted(names)[:_NAMES_TOLD])}, and no "
            "emotion; --codes says what that means, such as --codes wut=anger,froh=happy"
        )


def samples_of(images: Iterable[Marked]) -> Iterator[Item]:
    """Give the faces of images; those of one image are numbered."""
    for image in images:
        place, faces = image.place, image.faces
        for number, face in enumerate(faces):
            sample = Sample(
                f"{place.path}#{number}" if len(faces) > 1 else place.path,
                image.split,
                face.label,
                excluded=face.excluded,
                box=face.box,
                box_in=image.size,
                given=face.given,
                problem=face.problem,
                votes=face.votes,
                located=place.located,
            )
            yield sample, place.load
