"""What an import takes: the face of an image, some pictures of a video; and what to tell of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.data.clips import Clip, moment
from mien.data.formats.reading import Decode, Item, no_image
from mien.detect import Detector, detector_identity, make_detector
from mien.errors import ImageError
from mien.records import Detection, Sample, printable

__all__ = ["Faces", "Videos"]

_A_VIDEO: Final = "a video: --frames says how many pictures to take of each"
_LARGE: Final = 256
"""Pixels. Cut-out faces seldom come with longer sides, whole photos seldom with shorter ones."""


@dataclass
class Faces:
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


@dataclass
class Videos:
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
