"""From what people have to a dataset folder: every format goes the same way.

A format's reader gives samples without opening an image; decoding, hashing, packing, drawing open
splits and keeping them apart happen here, once, for all formats.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.data.clips import Clip, moment
from mien.data.formats import FORMATS
from mien.data.formats.columns import every_csv
from mien.data.formats.reading import (
    TABLE_SUFFIXES,
    Decode,
    Item,
    Reading,
    folder_around,
    no_image,
    shown,
)
from mien.data.formats.tables import header
from mien.data.source import FileTree, MissingImageError
from mien.data.writer import DatasetWriter, content_hash, new_folder
from mien.detect import Detector, detector_identity, make_detector
from mien.errors import DatasetError, ImageError, UsageError, one_of
from mien.labels import whole
from mien.preprocess import InputSpec, face_crop
from mien.progress import Progress, silent
from mien.records import Box, Detection, Sample, printable, show_path

__all__ = ["import_dataset", "recognise"]

_KINDS_TOLD: Final = 5
_NOTES_TOLD: Final = 2
_LOOKED_AT: Final = 256
"""About so many images, spread evenly, tell how large those of a source are."""
_SMALL: Final = (
    "No face of those looked at is larger than {small} pixels, so they are packed as "
    "{small}x{small}, not {own}x{own}: --size says otherwise."
)
_A_VIDEO: Final = "a video: --frames says how many pictures to take of each"
_OTHER_SHAPE: Final = 0.02
"""Proportions that differ by more are not rounding."""
_LARGEST_BOX: Final = 3
"""Sides of the image. A larger box would be all edge, and a wrong digit could fill the memory."""
_LARGE: Final = 256
"""Pixels. Cut-out faces seldom come with longer sides, whole photos seldom with shorter ones."""


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
    faces, videos = _Faces(detector), _Videos(frames)
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


@dataclass
class _Faces:
    """Finds the face in images that come without a box, and keeps count.

    Attributes:
        detector: a name of `make_detector`; ``none`` takes every image whole.
        look: what that makes.
        sides: the longer side of each image that came without a box, pixels.
        several: in how many images there was more than one face.
        without: in how many there was none.
    """

    detector: str
    look: Detector = field(init=False)
    sides: list[int] = field(default_factory=list)
    several: int = 0
    without: int = 0

    def __post_init__(self) -> None:
        self.look = make_detector(self.detector)

    def find(self, image: NDArray[np.uint8]) -> Detection | None:
        """Return the face, the whole image with no score where it was taken so, or None."""
        self.sides.append(max(image.shape[:2]))
        found = self.look(image)
        self.several += len(found) > 1
        self.without += not found
        return self.largest(found)

    @staticmethod
    def largest(found: Sequence[Detection]) -> Detection | None:
        """Return the largest face; None where there is none."""
        return max(found, key=lambda face: face.box.area, default=None)

    def notes(self) -> list[str]:
        """Tell what was found, or that a detector may be wanted."""
        if self.detector == "none":
            if not self.sides or (side := median(self.sides)) <= _LARGE:
                return []
            return [
                f"Half of the images are {side:.0f} pixels or longer, and each was taken whole: if "
                "they show more than a face, import them with --detector auto."
            ]
        largest = f"; in {self.several:,} the largest of several was taken" if self.several else ""
        return [
            f"Faces were looked for by {detector_identity(self.detector, self.look)} in "
            f"{len(self.sides):,} images without a box: none was found in {self.without:,}"
            f"{largest}."
        ]


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


@dataclass
class _Videos:
    """Takes pictures of videos, and keeps count.

    Attributes:
        frames: how many of each; 0: videos are left out.
        pictures: how many were taken of each video.
        short: videos of which there were fewer than asked for.
        nameless: whether nobody says who is shown in one.
        passed_over: videos that no table names, where none are taken.
    """

    frames: int
    pictures: Counter[str] = field(default_factory=Counter)
    short: dict[str, None] = field(default_factory=dict)
    nameless: bool = False
    passed_over: list[str] = field(default_factory=list)

    def moments(self, item: Item) -> Iterator[tuple[Sample, Decode]]:
        """Give an image as it is, and of a video so many pictures."""
        sample, load = item
        if not isinstance(load, Clip):
            yield sample, load
        elif not self.frames and sample.located is None:
            self.passed_over.append(load.path)
        elif not self.frames or sample.excluded:
            why = sample.excluded or _A_VIDEO
            yield replace(sample, excluded=why), no_image(why)
        else:
            yield from self._pictures(sample, load)

    def _pictures(self, sample: Sample, clip: Clip) -> Iterator[tuple[Sample, Decode]]:
        taken = 0
        face = sample.path.removeprefix(clip.path)  # of several faces, which it is
        try:
            for frame in clip.pictures(self.frames):
                taken += 1
                path = moment(clip.path, frame.time_s) + face
                yield replace(sample, path=path), partial(np.asarray, frame.pixels)
        except ImageError as error:
            yield sample, no_image(str(error))
        self.pictures[clip.path] += taken
        if taken < self.frames:
            self.short[clip.path] = None
        self.nameless |= sample.subject is None

    def notes(self) -> Iterator[str]:
        """Tell how many pictures were taken, and what nobody can know."""
        if self.passed_over:
            yield (
                f"Videos that were passed over: {len(self.passed_over):,}, such as "
                f"{printable(self.passed_over[0])}. --frames 5 takes five pictures of each."
            )
        if not self.frames:
            return
        if not self.pictures:
            yield "No video is among what was imported, so --frames changed nothing."
            return
        videos = sum(count > 0 for count in self.pictures.values())
        yield (
            f"{self.pictures.total():,} pictures were taken of {videos:,} videos; those of one "
            "video are drawn into one split."
        )
        if self.short:
            yield (
                f"Of {len(self.short):,} videos there are fewer than {self.frames}, such as of "
                f"{printable(next(iter(self.short)))}: they are short, cut off or damaged."
            )
        if self.nameless:
            yield (
                "Nothing says who is shown in the videos: a person of several may be in several "
                "splits. A csv of path, label and person does."
            )


def _largest_below(size: int, reading: Reading, faces: _Faces, frames: int) -> int | None:
    """Return the side of the largest face, pixels; None where one fills the size, or none is read.

    A face is stretched to a square, so its longer side counts. What is left out is no face, or a
    box with a wrong digit.
    """
    largest = 0
    step = max(1, reading.total // _LOOKED_AT)
    videos = _Videos(frames)
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
    faces: _Faces,
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
