"""Reading images that people really have, and writing them back.

Everything comes out upright, as uint8: (H, W, 3) in RGB order, or (H, W) where the file is grey.
Knows nothing of faces.
"""

import io
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from mien.atomic import replacing
from mien.errors import ImageError

__all__ = [
    "IMAGE_SUFFIXES",
    "JPEG_SIDE",
    "MAX_PIXELS",
    "checked_pixels",
    "read_image",
    "write_image",
]

IMAGE_SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)
"""Some of them Pillow may lack: better an image that is told to be unreadable than one that nobody
misses.
"""
MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded: a small file may unpack to gigabytes."""
JPEG_SIDE: Final = 65_500
"""A JPEG holds no larger width or height, pixels."""

_MOST_SCANS: Final = 200
"""A JPEG is refused with more: a decoder goes over the whole picture for each, however few bytes it
has. Encoders write about ten.
"""
_SCAN: Final = re.compile(rb"\xff\xda\x00(?:\x06\x00|\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
"""How a scan of a JPEG begins. Its length and its number of components must agree, so that hardly
anything in a video that a phone appends to a picture looks like one.
"""
_GREY_MODES = frozenset({"1", "L", "LA"})
_DEEP_GREY_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_DEEP_TO_GREY: Final = np.rint(np.arange(65536) / 257).astype(int).tolist()
"""The 8 bits of each value of 16."""
_ORIENTATION: Final = 0x0112
_BITS: Final = 258
_COMPRESSION: Final = 259
_TIFF_COMPRESSIONS: Final = frozenset({1, 5, 7, 8, 32773, 32946, 34925, 50000, 50001})
"""None, LZW, JPEG, deflate (two numbers), PackBits, LZMA, Zstandard and WebP. For each bad line of
a fax its decoder writes a line, not to be stopped, to standard error: a small file fills a disk.
"""
_TILE: Final = (322, 323)
_PHOTOMETRIC: Final = 262
_TURNS: Mapping[int, Image.Transpose] = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)
"""What turns a picture upright, by its Exif orientation."""


def read_image(
    source: str | os.PathLike[str] | bytes | Image.Image, *, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Read an image upright: RGB (H, W, 3), or (H, W) where it is grey; uint8, 0..255.

    Transparency is laid on white; of an animation the first frame is taken; 16-bit grey is scaled
    to 8 bits.

    Raises:
        ImageError: the file is missing, is no image, is damaged, has over ``max_pixels``, or is
            made to take minutes or gigabytes.
        MemoryError: there is too little memory for it.
    """
    name = "the data" if isinstance(source, bytes | Image.Image) else os.fspath(source)
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata and of sizes that are refused below anyway.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            if isinstance(source, Image.Image):
                _expect_known_depth(source)
                return _to_array(source, max_pixels)
            held = io.BytesIO(source) if isinstance(source, bytes) else name
            with Image.open(held, formats=_formats()) as image:
                return _to_array(image, max_pixels)
    except FileNotFoundError:
        if re.match(r"[a-z][a-z0-9+.-]+:/|data:", name if isinstance(name, str) else "", re.I):
            raise ImageError(f"{name}: an address, nothing is fetched: save it first") from None
        raise ImageError(f"no such file: {name!r}") from None
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        if source == b"":
            raise ImageError(
                f"not a readable image: {name} (no bytes; was the file read already?)"
            ) from None
        # Pillow's own wording holds an address in memory, another one on every run.
        raise ImageError(f"not a readable image: {name} (of no known image format)") from None
    except Exception as error:
        # Pillow raises nearly anything for damaged files, a TypeError for odd tags among it.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"not a readable image: {name} ({reason})") from None


def checked_pixels(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an array that holds a picture: RGB (H, W, 3) or grey (H, W), uint8.

    Raises:
        ImageError: it has another shape or type; grey may be (H, W, 1), too.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(f"{type(image).__name__}: expected an array, uint8, (H, W, 3) or (H, W)")
    grey = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)
    if image.dtype != np.uint8 or not (grey or (image.ndim == 3 and image.shape[2] == 3)):
        raise ImageError(
            f"an array of {image.dtype} {image.shape}: expected uint8, RGB (H, W, 3) or grey (H, W)"
            f"{_way_out(image)}"
        )
    if image.size == 0:
        raise ImageError(f"an array of {image.shape} has no pixels")
    return image.reshape(image.shape[:2]) if grey and image.ndim == 3 else image


def _way_out(image: NDArray[Any]) -> str:
    """Say how an array that people often have becomes one that is read; empty: nobody knows."""
    first, *_, last = (*image.shape, 0, 0)[:3]
    counts = np.issubdtype(image.dtype, np.number) and image.size > 0
    least, most = (image.min(), image.max()) if counts else (0, 0)
    to_255 = counts and 0 <= least <= most <= 255
    ways = (
        (image.ndim == 4, "one picture at a time, or Recogniser.batch"),
        (image.ndim == 3 and last == 4, "without transparency: image[..., :3]"),
        (image.ndim == 3 and first in {1, 3} and last > 4, "image.transpose(1, 2, 0)"),
        (image.dtype == np.uint16 and most > 255, "(image // 257).astype(numpy.uint8)"),
        (
            image.dtype.kind == "f" and to_255 and most <= 1,
            "(255 * image).round().astype(numpy.uint8)",
        ),
        (image.dtype != np.uint8 and to_255, "image.astype(numpy.uint8), of 0 to 255"),
    )
    return next((f"; {way}" for fits, way in ways if fits), "")


def _formats() -> list[str]:
    """Return Pillow's names of the formats that are read.

    It knows others: for PostScript it starts a program that runs what is in the file.
    """
    known = Image.registered_extensions()
    return sorted({known[suffix] for suffix in IMAGE_SUFFIXES & known.keys()})


def write_image(path: str | os.PathLike[str], pixels: NDArray[np.uint8]) -> None:
    """Write RGB (H, W, 3) or grey (H, W) uint8 pixels; the file is whole, or there is none.

    Raises:
        ImageError: no format that is read goes by the suffix, which chooses it.
        OSError: the file cannot be written.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in _formats():
        raise ImageError(f"{path}: expected a name that ends as images do, such as .png or .jpg")
    # Into memory first: on a full disk Pillow's own writing may end early without a word.
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, format=kind, quality=92)
    with replacing(path, durable=False) as partial:
        partial.write_bytes(held.getbuffer())


def _to_array(image: Image.Image, max_pixels: int) -> NDArray[np.uint8]:
    if not (image.width and image.height):
        raise ImageError(f"an image of {image.width}x{image.height} has no pixels")
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"image of {image.width}x{image.height} pixels is too large: expected at most "
            f"{max_pixels / 1e6:g} million; scale it down first"
        )
    if isinstance(image, JpegImageFile) and image.fp is not None:
        _check_scans(image.fp)
    tiff = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    if tiff:
        _check_tiff(tiff, max_pixels)
    if image.mode == "F" or 32 in tiff.get(_BITS, ()):
        # What is black and what is white in them, only whoever made them knows.
        raise ImageError(
            "32 bits a pixel: expected 8 or 16; convert the image to one of them first"
        )
    # In some TIFFs white is 0, which Pillow minds for 8 bits only.
    inverted = tiff.get(_PHOTOMETRIC) == 0
    image.load()  # which turns a TIFF upright, and forgets that it lay on its side
    image = _upright(image)
    if image.mode in _DEEP_GREY_MODES:
        table = _DEEP_TO_GREY[::-1] if inverted else _DEEP_TO_GREY
        return np.asarray(image.convert("I").point(table, "L"))
    mode = "L" if image.mode in _GREY_MODES else "RGB"
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert(mode), dtype=np.uint8)


def _expect_known_depth(image: Image.Image) -> None:
    """Refuse numbers of more than 8 bits that no file said what they mean: 255 may be white."""
    if isinstance(image, ImageFile):
        return
    deep = image.mode in _DEEP_GREY_MODES and image.width and image.height
    if image.mode == "I" or (deep and np.asarray(image).max() <= 255):
        raise ImageError(
            f"a PIL image of mode {image.mode}, more than 8 bits: expected 8; of 0 to 255: "
            "Image.fromarray(array.astype(numpy.uint8))"
        )


def _check_scans(file: IO[bytes]) -> None:
    place = file.tell()
    file.seek(0)
    scans = sum(1 for _ in _SCAN.finditer(file.read()))
    file.seek(place)
    if scans > _MOST_SCANS:
        raise ImageError(
            f"a JPEG of {scans:,} scans: expected at most {_MOST_SCANS}; save the image anew"
        )


def _check_tiff(tags: Mapping[int, Any], max_pixels: int) -> None:
    if (packing := tags.get(_COMPRESSION, 1)) not in _TIFF_COMPRESSIONS:
        raise ImageError(
            f"a TIFF of compression {packing}, as faxes have: expected an ordinary one, such as "
            "LZW; save the image anew"
        )
    # A tile is unpacked whole, however little of it the picture shows.
    across, down = (tags.get(tag, 0) for tag in _TILE)
    if across * down > max_pixels:
        raise ImageError(
            f"a TIFF of tiles of {across}x{down} pixels: expected at most {max_pixels / 1e6:g} "
            "million; save the image anew"
        )


def _upright(image: Image.Image) -> Image.Image:
    # Pillow's own exif_transpose also writes the metadata anew, and falls over odd ones.
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # whatever its metadata are, the picture itself may be whole
        turn = None
    return image if turn is None else image.transpose(turn)
