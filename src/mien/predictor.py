"""The recogniser: pictures and videos in, faces with their emotions out.

Joins a detector and a model. Reads pictures; neither draws nor prints.
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.detect import Detector, Whole, careful
from mien.errors import ImageError, UsageError
from mien.images import checked_pixels, read_image
from mien.model import EmotionModel
from mien.picture import Picture
from mien.preprocess import face_crop
from mien.records import Box, Detection, Face, Prediction
from mien.video.files import Video
from mien.video.track import DETECT_EVERY, Tracker

__all__ = ["ImageLike", "Opened", "Recogniser", "as_pixels"]

Opened = tuple[str, NDArray[np.uint8] | ImageError]
ImageLike = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | IO[bytes]
    | Image.Image
    | NDArray[np.uint8]
)
"""A path, the bytes of an image file, an open one, a PIL image, or an array."""


class Recogniser:
    """Finds faces and names their emotions. Safe to call from several threads.

    Args:
        model: names emotions.
        detector: finds faces.

    Raises:
        UsageError: one of them is none.
    """

    BATCH = 64
    BATCH_SOUGHT = 8
    BATCH_VALUES = 100_000_000

    def __init__(self, model: EmotionModel, detector: Detector) -> None:
        if not callable(getattr(model, "probabilities", None)):
            raise UsageError(f"model {model!r}: expected an open one; mien.load takes a name")
        self.model = model
        self.detector = detector
        self._find = careful(detector)

    def __repr__(self) -> str:
        return f"<Recogniser of {self.model.card.name}, by {type(self.detector).__name__}>"

    def __call__(self, image: ImageLike) -> list[Face]:
        """Return the faces of one picture, left to right.

        Args:
            image: a path, the bytes of a file, a PIL image, or an array: RGB (H, W, 3) or grey
                (H, W), uint8, 0..255. OpenCV's arrays are BGR: ``image[..., ::-1]`` is RGB.

        Raises:
            ImageError: it cannot be read, or an array has another shape or type.
        """
        pixels = as_pixels(image)
        return list(self._recognise([pixels])[0])

    def picture(self, image: ImageLike) -> Picture:
        """Read one picture and keep it: for notebooks, which show what was found in it.

        Raises:
            ImageError: it cannot be read, or an array has another shape or type.
        """
        pixels = as_pixels(image)
        # Whoever reads a camera may fill one array again and again.
        kept = pixels.copy() if isinstance(image, np.ndarray) else pixels
        return Picture(kept, self._recognise([pixels])[0])

    def read(self, image: NDArray[np.uint8], detections: Sequence[Detection]) -> tuple[Face, ...]:
        """Name the emotions of faces that are found already, in their order.

        Args:
            image: RGB (H, W, 3) or grey (H, W), uint8.
            detections: where its faces are.

        Raises:
            ImageError: the array has another shape or type.
        """
        return self._read([checked_pixels(image)], [detections])[0]

    def predict_files(
        self, paths: Iterable[str | os.PathLike[str]]
    ) -> Iterator[tuple[Prediction, NDArray[np.uint8] | None]]:
        """Read pictures and recognise them in batches, in their order.

        Yields:
            What was seen, and the upright pixels; an unreadable file yields its reason and None.

        Raises:
            ImageError: a path by itself.
        """
        _expect_several(paths)
        yield from self.predict_opened(_open(os.fspath(path)) for path in paths)

    def predict_opened(
        self, pictures: Iterable[Opened]
    ) -> Iterator[tuple[Prediction, NDArray[np.uint8] | None]]:
        """Recognise pictures that somebody else reads: as `predict_files`, in their order.

        Args:
            pictures: a name, and upright pixels or the reason why there are none.
        """
        for batch in self._batches(pictures):
            recognised = iter(self._recognise([x for _, x in batch if isinstance(x, np.ndarray)]))
            for path, read in batch:
                if isinstance(read, ImageError):
                    yield Prediction(path, error=str(read)), None
                else:
                    height, width = read.shape[:2]
                    yield Prediction(path, width, height, next(recognised)), read

    def batch(self, images: Iterable[ImageLike]) -> list[list[Face]]:
        """Return the faces of each picture, in their order; read together, which is faster.

        Raises:
            ImageError: one of them cannot be read, or an array has another shape or type.
        """
        _expect_several(images)
        faces: list[list[Face]] = []
        for pictures in self._batches(("", pixels) for pixels in _all_pixels(images)):
            pixels = [read for _, read in pictures if isinstance(read, np.ndarray)]
            faces += [list(found) for found in self._recognise(pixels)]
        return faces

    def video(
        self,
        source: str | os.PathLike[str] | int | Video,
        *,
        detect_every_s: float = DETECT_EVERY,
    ) -> Iterator[tuple[Prediction, NDArray[np.uint8] | None]]:
        """Read a video frame by frame; one frame is in memory at a time.

        Faces keep their numbers (`Face.track`) and are steadied over time, see
        `mien.video.track.Tracker`.

        Args:
            source: a file, an address, a camera's number, or a video that is open already; it is
                closed in the end.
            detect_every_s: seconds from one search for faces to the next.

        Yields:
            What was seen in each frame, and its pixels, RGB (H, W, 3). A file that is cut off
            yields one more prediction with the reason, and None.

        Raises:
            VideoError: there is no such file or camera, or not one frame can be read.
        """
        with source if isinstance(source, Video) else Video(source) as video:
            tracker, last_s = Tracker(self, detect_every_s=detect_every_s), 0.0
            for frame in video:
                last_s = frame.time_s
                height, width = frame.pixels.shape[:2]
                faces = tracker.update(frame.pixels, frame.time_s)
                yield (
                    Prediction(
                        video.name,
                        width,
                        height,
                        faces,
                        frame=frame.number,
                        time_s=frame.time_s,
                    ),
                    frame.pixels,
                )
            if video.ends_early:
                yield (
                    Prediction(
                        video.name,
                        error=video.ends_early,
                        frame=video.read_frames,
                        time_s=last_s,
                    ),
                    None,
                )

    def _batches(self, pictures: Iterable[Opened]) -> Iterator[list[Opened]]:
        """Gather pictures until there are enough for the model or too many pixels for memory.

        Looking for faces takes longer than all else, so that large batches would gain nothing, and
        keep back what is known.
        """
        most = self.BATCH if isinstance(self.detector, Whole) else self.BATCH_SOUGHT
        batch: list[Opened] = []
        pixels = 0
        for path, read in pictures:
            batch.append((path, read))
            pixels += 0 if isinstance(read, ImageError) else read.size
            if len(batch) == most or pixels > self.BATCH_VALUES:
                yield batch
                batch, pixels = [], 0
        if batch:
            yield batch

    def _recognise(self, images: Sequence[NDArray[np.uint8]]) -> list[tuple[Face, ...]]:
        return self._read(images, [list(self._find(image)) for image in images])

    def _read(
        self, images: Sequence[NDArray[np.uint8]], found: Sequence[Sequence[Detection]]
    ) -> list[tuple[Face, ...]]:
        spec = self.model.card.spec
        crops = [
            # What nobody looked for is the whole picture: there is no box to widen or square.
            face_crop(
                image,
                None if detection.score is None else detection.box,
                spec,
                roll=detection.roll,
            )
            for image, detections in zip(images, found, strict=True)
            for detection in detections
        ]
        rows = iter(self.model.probabilities(crops))
        return [
            tuple(self._face(detection, next(rows)) for detection in detections)
            for detections in found
        ]

    def _face(self, detection: Detection, row: NDArray[np.float32]) -> Face:
        labels = self.model.card.labels
        best = int(row.argmax())
        return Face(
            # Detectors of others may give NumPy's numbers, which JSON does not take.
            box=Box(*map(float, detection.box)),
            detection=None if detection.score is None else float(detection.score),
            emotion=labels[best],
            confidence=float(row[best]),
            probabilities={label: float(p) for label, p in zip(labels, row, strict=True)},
        )


def as_pixels(image: ImageLike) -> NDArray[np.uint8]:
    """Return upright uint8 pixels, RGB (H, W, 3) or grey (H, W), of whatever a caller has.

    Raises:
        ImageError: it cannot be read, or an array has another shape or type.
    """
    if isinstance(image, bytearray | memoryview):
        image = bytes(image)
    if isinstance(image, str | bytes | os.PathLike | Image.Image):
        return read_image(image)
    if not isinstance(image, np.ndarray):
        if not hasattr(image, "read"):
            raise ImageError(
                f"{type(image).__name__} is no picture: expected a path, the bytes of a file, an "
                "open one, a PIL image, or an array, RGB (H, W, 3) or grey (H, W)"
            )
        # Text would be taken for the path of another picture.
        held = "" if isinstance(image, io.TextIOBase) else image.read()
        if not isinstance(held, bytes | bytearray | memoryview):
            raise ImageError(
                f"a file that gives {type(held).__name__}: expected one opened in binary mode"
            )
        return read_image(bytes(held))
    return checked_pixels(image)


def _all_pixels(images: Iterable[ImageLike]) -> Iterator[NDArray[np.uint8]]:
    for number, image in enumerate(images):
        try:
            yield as_pixels(image)
        except ImageError as error:
            raise ImageError(f"picture {number}, counted from 0: {error}") from None


def _expect_several(images: object) -> None:
    one = isinstance(images, str | bytes | bytearray | os.PathLike | Image.Image)
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        one = images.ndim < 3 or (images.ndim == 3 and images.shape[2] in {1, 3})
    if one:
        raise ImageError("one picture by itself: expected several, [image, another]")


def _open(path: str) -> Opened:
    try:
        return path, read_image(path)
    except ImageError as error:
        return path, error
    except MemoryError:
        return path, ImageError(f"{path}: too little memory to read it")
