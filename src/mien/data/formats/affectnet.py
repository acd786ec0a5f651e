"""AffectNet of 2017: tables of boxes, landmarks and ids, images in numbered folders."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mien.data.formats.finding import Images
from mien.data.formats.reading import Format, Item, Reading, open_tree, shown
from mien.data.formats.tables import Table, box_of, find_table, header, number, numbers
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import AFFECTNET_CODES, by_code
from mien.preprocess import InputSpec
from mien.records import Sample, Split

__all__ = ["AFFECTNET", "AFFECTNET_EXCLUDED", "affectnet_values", "label_of", "landmarks_of"]

AFFECTNET_EXCLUDED: Mapping[str, str] = MappingProxyType(
    {
        "8": "annotated as none of the emotions",
        "9": "annotated as uncertain",
        "10": "annotated as no face",
    }
)
"""The ids that name no emotion, and why nobody uses them."""

_EMOTIONS = by_code(AFFECTNET_CODES)
_COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
_NEEDED = tuple(c for c in _COLUMNS if c not in {"facial_landmarks", "valence", "arousal"})
# Papers report on the validation set: the test set was never published.
_SPLITS: Mapping[str, Split] = MappingProxyType({"training.csv": "train", "validation.csv": "test"})
_LANDMARKS: Final = 68


def _read(source: Path) -> Reading:
    with open_tree(source) as tree:
        paths = {} if tree.alone else {name: find_table(tree, {name}) for name in _SPLITS}
        tables = [
            (Table(tree, path, _NEEDED, unheaded=_COLUMNS), _SPLITS[name])
            for name, path in paths.items()
            if path
        ]
        if not tables:
            raise DatasetError(
                f"{source}: neither training.csv nor validation.csv here; expected a folder with "
                "AffectNet's tables and images such as Manually_Annotated_Images/689/x.jpg"
            )
        total = sum(table.count for table, _ in tables)
        return Reading(total, _items(tree, tables), tree, ("valence", "arousal"))


def _items(tree: FileTree, tables: list[tuple[Table, Split]]) -> Iterator[Item]:
    images = Images(tree)
    for table, split in tables:
        for _, (name, x, y, width, height, points, code, *feelings) in table.rows(*_COLUMNS):
            place = images.below(name)
            label, excluded = label_of(code)
            bad = label is None and code not in AFFECTNET_EXCLUDED
            box = box_of(numbers((x, y, width, height)))
            if label and box is None:
                bad, excluded = True, "its face box is no box"
            sample = Sample(
                place.path,
                split,
                label,
                excluded=excluded,
                box=box,
                given=code,
                problem="bad_label" if bad else None,
                located=place.located,
                landmarks=landmarks_of(points.split(";")),
                values=affectnet_values(*map(number, feelings)),
            )
            yield sample, place.load


def label_of(code: str) -> tuple[str | None, str | None]:
    """Return the emotion of one of AffectNet's ids, or None and why there is none."""
    label = _EMOTIONS.get(code)
    if label:
        return label, None
    return None, AFFECTNET_EXCLUDED.get(
        code, f"expression {shown(code)} is none of AffectNet's 0 to 10"
    )


def landmarks_of(cells: list[str]) -> tuple[float, ...]:
    """Return x and y of each landmark in turn; nothing where they are not all there."""
    values = numbers(cells)
    return tuple(values) if values and len(values) == 2 * _LANDMARKS else ()


def affectnet_values(valence: float | None, arousal: float | None) -> dict[str, float]:
    """Return what was annotated of valence and arousal, -1..1."""
    given = {"valence": valence, "arousal": arousal}
    return {name: value for name, value in given.items() if value is not None and abs(value) <= 1}


def _recognise(tree: FileTree) -> str | None:
    for path in tree.others:
        if path.rpartition("/")[2].lower() in _SPLITS:
            first = header(tree, path)
            if "subDirectory_filePath" in first:
                return f"{path} has subDirectory_filePath"
            landmarks = first[5].split(";") if len(first) == len(_COLUMNS) else []
            if landmarks_of(landmarks):
                return f"{path} holds boxes and landmarks as AffectNet does, without a header"
    return None


AFFECTNET = Format(
    "AffectNet: training.csv, validation.csv and Manually_Annotated_Images/689/x.jpg",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=(
        "The official validation set is test here, as in papers.",
        "Ids 8 (none), 9 (uncertain) and 10 (no face) are left out.",
    ),
)
