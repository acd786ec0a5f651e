"""Images in which faces are marked, as detectors learn from them: each face is a sample."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, takewhile
from pathlib import Path
from typing import Final, NamedTuple

from mien.data.formats.finding import Place, inside, unlisted
from mien.data.formats.marks import SEVERAL, MarkedFace, agreed
from mien.data.formats.reading import Item, Reading, missing, shown
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.records import SPLITS, Sample, Split

__all__ = ["LOOKED_AT", "ONE_A_MARK", "Marked", "read_marked", "recognised_by", "samples_of"]

LOOKED_AT: Final = 200
"""So many images tell what is marked in a source."""
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
        images: those that its labels name; what several say of one are votes.
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
    """Give images, without those that only a name leads to where a path leads another one.

    Two sets of images may have the same names, and one of them be lacking.
    """
    listed = list(images)
    near: dict[str, set[tuple[bool, int, int]]] = defaultdict(set)
    for image in listed:
        near[image.place.path].add(_nearness(image))
    names: dict[str, set[str]] = defaultdict(set)
    for image in listed:
        if image.named and _nearness(image) == max(near[image.place.path]):
            names[image.place.path].add(image.named[1].replace("\\", "/"))
    for image in listed:
        path, named = image.place.path, image.named
        nearest = _nearness(image) == max(near[path]) and _are_ends(names[path])
        if named is None or nearest or not image.place.located:
            yield image
        else:
            where = inside(named[1], named[0]) or named[1]
            yield image._replace(place=Place(where, None, missing(_ANOTHERS)))


def _nearness(image: Marked) -> tuple[bool, int, int]:
    """Return how well the path by which an image is named fits where it is."""
    if image.named is None:
        return True, 0, 0
    folder, name = image.named
    place = image.place.path.split("/")
    parts = f"{folder}{name}".replace("\\", "/").split("/")
    return (
        image.place.located == "path",
        _common(reversed(place), reversed(parts)),
        _common(place, folder.split("/")),
    )


def _common(one: Iterable[str], other: Iterable[str]) -> int:
    """Return how many of their first parts two paths have in common."""
    alike = (a.casefold() == b.casefold() for a, b in zip(one, other, strict=False))
    return sum(1 for _ in takewhile(bool, alike))


def _are_ends(names: Iterable[str]) -> bool:
    """Whether paths are all ends of the longest, so that they may mean the same file."""
    longest = max(names, key=len, default="")
    return all(f"/{longest}".endswith(f"/{name.lstrip('./')}") for name in names)


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
        told: set[MarkedFace] = set()
        opinions = []
        for image in same:
            opinions.append([face for face in image.faces if face not in told])
            told |= {*image.faces}
        # What one file holds out, no other may learn from.
        split = max((image.split for image in same), key=_held_out)
        yield same[0]._replace(split=split, faces=agreed(opinions))


def _held_out(split: Split | None) -> int:
    return SPLITS.index(split) if split else -1


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
    names = {face.given for face in faces if face.given and SEVERAL not in (face.excluded or "")}
    if names and not any(face.label for face in faces):
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
