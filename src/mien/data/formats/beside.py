"""Labels in a file for each image, which is called as its image is: VOC's and Labelme's."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from mien.data.formats.finding import Place, folded, folder_of, inside, listed_splits
from mien.data.formats.marked import Marked
from mien.data.formats.marks import MarkedFace
from mien.data.formats.reading import image_loader, missing, split_of
from mien.data.source import FileTree

__all__ = ["Labels", "images_of"]


class Labels(NamedTuple):
    """The faces that a file marks in its image, and the size and the path that this has by it."""

    faces: Sequence[MarkedFace]
    size: tuple[int, int] | None = None
    named: str = ""

    @classmethod
    def broken(cls, why: str) -> "Labels":
        """Return what stands for those of a file that cannot be understood."""
        return cls((MarkedFace(excluded=f"its label file {why}", problem="bad_label"),))


def images_of(tree: FileTree, files: Sequence[tuple[str, Labels]]) -> Iterator[Marked]:
    """Give the image of each file of labels.

    That is the one at the path that it says, if any, else the nearest of its own name, which is no
    other file's, nor in another split.
    """
    splits, load = listed_splits(tree), image_loader(tree)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for path in tree.images:
        by_stem[folded(_stem(path))].append(path)
    there = frozenset(tree.images)
    named = {path: inside(said.named, folder_of(path)) for path, said in files}
    near = {
        path: [at] if at in there else _fitting(tree, path, by_stem[folded(_stem(path))])
        for path, at in named.items()
    }
    closest: dict[str, int] = defaultdict(int)
    for path, found in near.items():
        for image in found:
            closest[image] = max(closest[image], _shared(path, image))
    for path, said in files:
        # What lies nearer to another file of this name is that one's.
        found = [image for image in near[path] if _shared(path, image) == closest[image]]
        if len(found) == 1:
            # Its labels say where it is, and there it is not.
            moved = said.named and named[path] != found[0]
            place = Place(found[0], "name" if moved else None, load(found[0]))
        else:
            says = "several images are called as it is" if found else "no image is called as it is"
            place = Place(path, None, missing(says))
        split = split_of(tree, path) or split_of(tree, place.path) or splits.get(place.path)
        yield Marked(place, split, said.faces, said.size)


def _fitting(tree: FileTree, path: str, images: Sequence[str]) -> Sequence[str]:
    """Return which images of a name may be that of its labels; several: it cannot be told."""
    folder, stem = folder_of(path), _stem(path)
    beside = [image for image in images if folder_of(image) == folder and _stem(image) == stem]
    return beside or _nearest(tree, path, images)


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


def _shared(path: str, image: str) -> int:
    """Return how many folders two files have in common."""
    return len({*PurePosixPath(path).parent.parts} & {*PurePosixPath(image).parent.parts})


def _nearest(tree: FileTree, path: str, images: Sequence[str]) -> Sequence[str]:
    """Return which images of the same name lie nearest, in no other split."""
    split = split_of(tree, path)
    shared = {
        image: _shared(path, image)
        for image in images
        if None in (splits := {split, split_of(tree, image)}) or len(splits) == 1
    }
    nearest = [image for image, count in shared.items() if count == max(shared.values())]
    return [image for image in nearest if _stem(image) == _stem(path)] or nearest
