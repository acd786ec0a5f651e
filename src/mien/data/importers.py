"""From what people have to a dataset folder: every format goes the same way.

A format's reader gives samples without opening an image; decoding, hashing, packing, drawing open
splits and keeping them apart happen here, once, for all formats.
"""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mien.data.formats import FORMATS
from mien.data.formats.columns import every_csv
from mien.data.formats.reading import (
    TABLE_SUFFIXES,
    Decode,
    Reading,
    folder_around,
    shown,
)
from mien.data.formats.tables import header
from mien.data.source import FileTree, MissingImageError
from mien.data.taking import Faces, Videos
from mien.data.writer import DatasetWriter, content_hash, new_folder
from mien.errors import DatasetError, ImageError, UsageError, one_of
from mien.labels import whole
from mien.preprocess import InputSpec, face_crop
from mien.progress import Progress, silent
from mien.records import Box, Sample, show_path

__all__ = ["import_dataset", "recognise"]

_KINDS_TOLD: Final = 5
_NOTES_TOLD: Final = 2
_LOOKED_AT: Final = 256
"""About so many images, spread evenly, tell how large those of a source are."""
_SMALL: Final = (
    "No face of those looked at is larger than {small} pixels, so they are packed as "
    "{small}x{small}, not {own}x{own}: --size says otherwise."
)
_OTHER_SHAPE: Final = 0.02
"""Proportions that differ by more are not rounding."""
_LARGEST_BOX: Final = 3
"""Sides of the image. A larger box would be all edge, and a wrong digit could fill the memory."""


def import_dataset(
    format_name: str,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: int | None = None,
    channels: int | None = None,
    codes: Mapping[str, str] | None = None,
    detector: str = "none",
    frames: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Import labelled images, and pictures of labelled videos, into a new dataset folder.

    Images that cannot be read stay in the manifest, excluded, with the reason. Images with the
    same pixels as a test image never stay in training or validation.

    Args:
        format_name: one of `FORMATS`.
        source: the folder, archive or table.
        out: the dataset folder to make.
        size: side of the packed images, pixels; where None the format's own, or, where all faces
            are smaller, that of the largest, but not under 48: enlarged here and reduced again by a
            network that takes 48, they would be blurred as recognition never sees them.
        channels: 1 grey, 3 RGB; the format's own where None.
        codes: the emotion of labels that are numbers or no English names, for the formats that have
            no table of their own, see `mien.labels.read_codes`.
        detector: finds the face where the source gives no box, `mien.detect.make_detector`; of
            several the largest counts, and an image without any is left out. ``none``: an image
            without a box is the face.
        frames: how many pictures to take of each video, evenly over its length; all of a video
            are in one split, and their paths end in ``#t=SECONDS``. 0: videos are left out.
        progress: shows how far the import is.

    Returns:
        The content of ``dataset.json``.

    Raises:
        UsageError: unknown format or detector, a format that takes no codes, or ``out`` exists.
        DatasetError: the source does not have the format's layout, or nothing is usable.
    """
    source, out = Path(source), Path(out)
    chosen = FORMATS.get(format_name)
    if chosen is None:
        raise UsageError(f"unknown format {format_name!r}: {one_of(FORMATS, format_name)}")
    if codes and not chosen.coded:
        others = ", ".join(name for name, known in FORMATS.items() if known.coded)
        raise UsageError(
            f"codes are for {others}: {format_name} knows what its labels mean; leave --codes out"
        )
    faces, videos = Faces(detector), Videos(frames)
    reading_of = partial(chosen.read, codes=codes) if codes else chosen.read
    own, small = chosen.spec.size, None
    if size is None:
        with reading_of(source) as reading:
            small = _largest_below(own, reading, faces, frames)
        size = small or own
    spec = replace(
        chosen.spec,
        size=own if size is None else size,
        channels=chosen.spec.channels if channels is None else channels,
    )
    with reading_of(source) as reading, new_folder(out) as folder:
        writer = DatasetWriter(
            folder,
            source_format=format_name,
            spec=spec,
            values=reading.values,
            words=reading.words,
        )
        for item in progress(reading.items, total=reading.total, doing="importing"):
            for sample, load in videos.moments(item):
                _add(writer, sample, load, spec, faces, relative_boxes=reading.relative_boxes)
        if reading.total and len(videos.passed_over) == reading.total:
            raise DatasetError(
                f"{source}: {reading.total:,} videos, and no image: --frames 5 takes five pictures "
                "of each"
            )
        passed_over = reading.tree.notes if reading.tree else ()
        noted = (*videos.notes(), *faces.notes(), *map(show_path, passed_over))
        notes = (*chosen.notes, *reading.notes, *noted)
        if small:
            notes = (*notes, _SMALL.format(small=small, own=own))
        return writer.finish(
            source=str(source), notes=notes, looked_beyond_table=reading.looked_beyond_table
        )


def recognise(source: Path) -> tuple[str, str]:
    """Tell which format a source has, and by what it shows.

    Raises:
        DatasetError: it has none that mien knows.
    """
    with FileTree(source, also=TABLE_SUFFIXES) as tree:
        for name, known in FORMATS.items():
            if why := known.recognise(tree):
                return name, why
        tables = every_csv(tree)
        folders = set(map(folder_around, tree.pictured))
        seen = Counter(
            PurePosixPath(path).suffix.lower() or "without a suffix"
            for path in (*tree.pictured, *tree.others, *tree.strangers)
        )
        notes = tree.notes[:_NOTES_TOLD]
        if len(tables) == 1 and (columns := header(tree, tables[0])):
            notes.append(f"{tables[0]} has the columns {shown(', '.join(columns))}")
    if len(tables) > 1:
        raise DatasetError(
            f"{source}: {len(tables)} tables ({', '.join(tables[:5])}): name the one to import, "
            "'mien data import auto FILE --out DATASET'"
        )
    if folders and all(map(whole, folders)):
        raise DatasetError(
            f"{source}: its folders are numbers ({', '.join(sorted(folders)[:8])}), and mien does "
            "not guess: 'mien data import folder SRC --codes 0=anger,1=happy,...' says what they "
            "mean"
        )
    found = ", ".join(f"{count:,} {kind}" for kind, count in seen.most_common(_KINDS_TOLD))
    raise DatasetError(
        f"{source}: no layout that mien knows ('mien data import --help'); "
        f"found {found or 'no file'}; "
        + "".join(f"{note}; " for note in notes)
        + "a csv of path and label takes any other"
    )


def _largest_below(size: int, reading: Reading, faces: Faces, frames: int) -> int | None:
    """Return the side of the largest face, pixels; None where one fills the size, or none is read.

    A face is stretched to a square, so its longer side counts. What is left out is no face, or a
    box with a wrong digit.
    """
    largest = 0
    step = max(1, reading.total // _LOOKED_AT)
    videos = Videos(frames)
    some = islice(reading.items, 0, None, step)
    # Of a video the first picture: the less of it is decoded twice, the better.
    for sample, load in chain.from_iterable(islice(videos.moments(item), 1) for item in some):
        if sample.excluded:
            continue
        try:
            image = load()
        except ImageError:
            continue
        height, width = image.shape[:2]
        box = sample.box
        if box is None:
            face = faces.largest(faces.look(image))
            box = face.box if face else None
        elif reading.relative_boxes:
            box = _in_pixels(box, width, height)
        if box is None or _misplaced(box, width, height):
            continue
        largest = max(largest, round(max(box.width, box.height)), InputSpec().size)
        if largest >= size:
            return None
    return largest or None


def _add(
    writer: DatasetWriter,
    sample: Sample,
    load: Decode,
    spec: InputSpec,
    faces: Faces,
    *,
    relative_boxes: bool,
) -> None:
    try:
        image = load()
    except ImageError as error:
        writer.add(_without_image(sample, error), None)
        return
    height, width = image.shape[:2]
    roll = 0.0
    if sample.box is None:
        if (face := faces.find(image)) is None:
            writer.add(replace(sample, excluded=sample.excluded or "no face found"), None)
            return
        if face.score is not None:
            sample, roll = replace(sample, box=face.box), face.roll
    elif relative_boxes:
        sample = replace(sample, box=_in_pixels(sample.box, width, height))
    elif sample.box_in not in {None, (width, height)}:
        sample = _on_this_size(sample, width, height)
    if sample.box is not None and (why := _misplaced(sample.box, width, height)):
        writer.add(replace(sample, excluded=sample.excluded or why), None)
        return
    packed = face_crop(image, sample.box, spec, roll=roll)
    writer.add(sample, packed, sha256=content_hash(image), width=width, height=height)


def _in_pixels(box: Box, width: int, height: int) -> Box:
    """Return a box that is given as shares of an image's sides."""
    return Box(box.x * width, box.y * height, box.width * width, box.height * height)


def _on_this_size(sample: Sample, width: int, height: int) -> Sample:
    """Scale a box that was drawn on the same picture of another size; of another shape, leave out.

    A picture that a phone marks as turned is read upright; who drew a box may have seen it lying.
    """
    across, down = sample.box_in or (width, height)
    by_x, by_y = width / across, height / down
    if sample.box is None or abs(by_x / by_y - 1) > _OTHER_SHAPE:
        why = f"its box is of an image of {across}x{down}, which is {width}x{height} here"
        return replace(sample, excluded=sample.excluded or why)
    x, y, w, h = sample.box
    return replace(sample, box=Box(x * by_x, y * by_y, w * by_x, h * by_y))


def _misplaced(box: Box, width: int, height: int) -> str | None:
    """Why a box cannot be a face of an image; detectors' boxes may reach over its edge."""
    x, y, w, h = box
    fits = max(w, h) <= _LARGEST_BOX * max(width, height) and x < width and y < height
    if fits and x + w > 0 and y + h > 0:
        return None
    return f"box {w:g}x{h:g} at {x:g}, {y:g} does not lie on the image of {width}x{height}"


def _without_image(sample: Sample, error: ImageError) -> Sample:
    if sample.excluded:
        return sample
    missing = isinstance(error, MissingImageError)
    return replace(
        sample,
        problem="missing" if missing else "unreadable",
        excluded=f"{'missing' if missing else 'unreadable'}: {error}",
    )
