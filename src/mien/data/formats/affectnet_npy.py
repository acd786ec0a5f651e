"""AffectNet as its later release packs it: one npy file for each annotation of an image."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien.data.formats.affectnet import (
    AFFECTNET_EXCLUDED,
    affectnet_values,
    label_of,
    landmarks_of,
)
from mien.data.formats.reading import Format, Item, Reading, image_loader, missing, open_tree
from mien.data.formats.tables import number
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError
from mien.preprocess import InputSpec
from mien.records import Sample, Split

__all__ = ["AFFECTNET_NPY"]

_IMAGE = re.compile(r"((?:.*/)?(train|val)_set)/images/([^/]+)\.\w+", re.IGNORECASE)
_LABEL = re.compile(r"((?:.*/)?(train|val)_set)/annotations/([^/]+)_exp\.npy", re.IGNORECASE)
_MAX_BYTES = 64 << 10  # The longest annotation holds 136 numbers.
_NO_ANNOTATION = "no annotation names its expression"
# What numpy raises for files that are no arrays, or arrays of another kind.
_NO_ARRAY = (
    ValueError,
    TypeError,
    EOFError,
    OSError,
    MemoryError,
    SystemError,
    SyntaxError,
    tokenize.TokenError,
)


def _read(source: Path) -> Reading:
    with open_tree(source) as tree:
        faces = [(path, match) for path in tree.images if (match := _IMAGE.fullmatch(path))]
        seen = {_annotation(match) for _, match in faces}
        labels = [(path, match) for path in tree.others if (match := _LABEL.fullmatch(path))]
        lost = [(path, match) for path, match in labels if path not in seen]
        if not labels:
            raise DatasetError(
                f"{source}: no annotations here; expected train_set/images/1.jpg with "
                "train_set/annotations/1_exp.npy, and val_set/ alike"
            )
        return Reading(
            len(faces) + len(lost),
            _items(tree, faces, lost),
            tree,
            values=("valence", "arousal"),
            looked_beyond_table=True,
        )


def _annotation(image: re.Match[str]) -> str:
    return f"{image[1]}/annotations/{image[3]}_exp.npy"


def _items(
    tree: FileTree,
    faces: list[tuple[str, re.Match[str]]],
    lost: list[tuple[str, re.Match[str]]],
) -> Iterator[Item]:
    load = image_loader(tree)
    for path, match in faces:
        yield _sample(tree, path, match), load(path)
    for _, match in lost:
        path = f"{match[1]}/images/{match[3]}.jpg"
        yield _sample(tree, path, match), missing()


def _sample(tree: FileTree, path: str, match: re.Match[str]) -> Sample:
    split = _split(match)
    expression = _annotation(match)
    if expression not in tree:
        return Sample(path, split, None, excluded=_NO_ANNOTATION, problem="unlisted")
    before = expression.removesuffix("_exp.npy")
    code, *feelings = (_cell(tree, f"{before}_{name}.npy") for name in ("exp", "val", "aro"))
    label, excluded = label_of(code)
    return Sample(
        path,
        split,
        label,
        excluded=excluded,
        given=code,
        problem=None if label or code in AFFECTNET_EXCLUDED else "bad_label",
        landmarks=landmarks_of(_cells(tree, f"{before}_lnd.npy")),
        values=affectnet_values(*map(number, feelings)),
    )


def _split(match: re.Match[str]) -> Split:
    # Papers report on the validation set: the test set was never published.
    return "train" if match[2].lower() == "train" else "test"


def _cell(tree: FileTree, path: str) -> str:
    cells = _cells(tree, path)
    return cells[0] if len(cells) == 1 else ""


def _cells(tree: FileTree, path: str) -> list[str]:
    """Return what an annotation holds, as text, whether it holds text or numbers."""
    try:
        data = tree.read(path)
        if len(data) > _MAX_BYTES:
            return []
        array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        return [_text(value) for value in array.ravel().tolist()]
    except (ImageError, *_NO_ARRAY):
        return []


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value).strip()


def _recognise(tree: FileTree) -> str | None:
    for path in tree.others:
        if _LABEL.fullmatch(path):
            return f"{path} annotates one image"
    return None


AFFECTNET_NPY = Format(
    "AffectNet with npy files: train_set/, val_set/ with images/1.jpg, annotations/1_exp.npy",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=("The official validation set is test here, as in papers.",),
)
