"""Tests of reading and writing images: every mode, every kind of damage."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from mien.errors import ImageError
from mien.images import IMAGE_SUFFIXES, MAX_PIXELS, read_image, write_image

Pixels = NDArray[np.uint8]
Transform = Callable[[Pixels], Pixels]

RANDOM = np.random.default_rng(1)
GREY = RANDOM.integers(0, 256, (5, 7), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
RGBA = RANDOM.integers(0, 256, (5, 7, 4), dtype=np.uint8)
GREY_ALPHA = RGBA[..., :2]
CMYK = RGBA
DEEP = RANDOM.integers(0, 65536, (5, 7)).astype(np.uint16)
BITS = GREY > 127


def _on_white(colour: Pixels, alpha: Pixels) -> Pixels:
    share = alpha.astype(float) / 255
    if colour.ndim > share.ndim:
        share = share[..., None]
    return (colour * share + 255 * (1 - share)).round().astype(np.uint8)


def _palette(transparent: int | None) -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([250, 0, 0, 0, 250, 0, 0, 0, 250])
    for x in range(3):
        image.putpixel((x, 0), x)
    if transparent is not None:
        image.info["transparency"] = transparent
    return image


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes of pixels do not hold."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 9)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


PALETTE_RGB = np.array([[[250, 0, 0], [0, 250, 0], [0, 0, 250]]], dtype=np.uint8)
PALETTE_CLEAR = np.array([[[250, 0, 0], [255, 255, 255], [0, 0, 250]]], dtype=np.uint8)
INKS = 255.0 - CMYK.astype(float)

MODES = [
    pytest.param(Image.fromarray(BITS), "PNG", np.where(BITS, 255, 0), 0, id="1"),
    pytest.param(Image.fromarray(GREY), "PNG", GREY, 0, id="L"),
    pytest.param(
        Image.fromarray(GREY_ALPHA),
        "PNG",
        _on_white(GREY_ALPHA[..., 0], GREY_ALPHA[..., 1]),
        1,
        id="LA-stays-grey-on-white",
    ),
    pytest.param(_palette(None), "PNG", PALETTE_RGB, 0, id="P"),
    pytest.param(_palette(1), "PNG", PALETTE_CLEAR, 0, id="P-transparent-is-white"),
    pytest.param(_palette(1), "GIF", PALETTE_CLEAR, 0, id="P-transparent-gif"),
    pytest.param(Image.fromarray(RGB), "PNG", RGB, 0, id="RGB"),
    pytest.param(Image.fromarray(RGB), "BMP", RGB, 0, id="RGB-bmp"),
    pytest.param(
        Image.fromarray(RGBA), "PNG", _on_white(RGBA[..., :3], RGBA[..., 3]), 1, id="RGBA-on-white"
    ),
    pytest.param(
        Image.fromarray(CMYK, mode="CMYK"),
        "TIFF",
        INKS[..., :3] * INKS[..., 3:] / 255,
        1,
        id="CMYK",
    ),
    pytest.param(Image.fromarray(DEEP), "PNG", (DEEP / 257).round(), 0, id="I;16"),
    pytest.param(Image.fromarray(DEEP), "TIFF", (DEEP / 257).round(), 0, id="I;16-tiff"),
    pytest.param(Image.fromarray(DEEP), "PPM", (DEEP / 257).round(), 0, id="I;16-pgm"),
]


@pytest.mark.parametrize("given", ["path", "text", "bytes", "pil"])
@pytest.mark.parametrize(("image", "kind", "expected", "tolerance"), MODES)
def test_modes(
    tmp_path: Path,
    image: Image.Image,
    kind: str,
    expected: NDArray[np.float64],
    tolerance: int,
    given: str,
) -> None:
    data = _encode(image, kind)
    file = tmp_path / "image"
    file.write_bytes(data)
    sources = {"path": file, "text": str(file), "bytes": data, "pil": image}
    found = read_image(sources[given])  # type: ignore[arg-type]
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    assert np.abs(found.astype(float) - expected).max() <= tolerance


def test_16_bit_grey_uses_the_whole_range() -> None:
    deep = np.array([[0, 128, 129, 257, 65535]], dtype=np.uint16)
    assert read_image(Image.fromarray(deep)).tolist() == [[0, 0, 1, 1, 255]]


def test_16_bit_tiff_whose_white_is_0() -> None:
    data = _encode(Image.fromarray(DEEP), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(read_image(data), ((65535 - DEEP) / 257.0).round())


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_32_bit_tiffs_are_refused(kind: type) -> None:
    ramp = Image.fromarray(np.linspace(0, 1, 35).reshape(5, 7).astype(kind))
    with pytest.raises(ImageError, match="32 bits a pixel: expected 8 or 16"):
        read_image(_encode(ramp, "TIFF"))


def test_signed_16_bit_tiffs_are_read() -> None:
    signed = Image.fromarray((DEEP // 2).astype(np.int32))
    tags = {258: 16, 339: 2}
    data = _encode(Image.fromarray(DEEP // 2), "TIFF", tiffinfo=tags)
    assert Image.open(io.BytesIO(data)).mode == signed.mode
    np.testing.assert_array_equal(read_image(data), (DEEP // 2 / 257.0).round())


TURNS: list[tuple[str, Transform]] = [
    ("upright", lambda a: a),
    ("mirrored", lambda a: a[:, ::-1]),
    ("half-turn", lambda a: a[::-1, ::-1]),
    ("upside-down-mirrored", lambda a: a[::-1]),
    ("transposed", lambda a: a.swapaxes(0, 1)),
    ("quarter-clockwise", lambda a: np.rot90(a, -1)),
    ("transversed", lambda a: a[::-1, ::-1].swapaxes(0, 1)),
    ("quarter-anticlockwise", np.rot90),
]


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [pytest.param(n, turn, id=f"{n}-{name}") for n, (name, turn) in enumerate(TURNS, start=1)],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation(orientation: int, turn: Transform, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = read_image(_encode(Image.fromarray(RGB), kind, exif=exif))
    np.testing.assert_array_equal(found, turn(RGB))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(struct.pack("<HHII", 0x010F, 5, 1, 38), id="a-fraction-for-a-name"),
        pytest.param(struct.pack("<HHII", 0x010F, 3, 1, 7), id="a-number-for-a-name"),
        pytest.param(struct.pack("<HHII", 0x010F, 2, 1 << 30, 8), id="a-name-beyond-the-end"),
    ],
)
def test_odd_metadata_beside_the_orientation(make: bytes) -> None:
    turned = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + make + turned + bytes(4) + bytes(16)
    found = read_image(_encode(Image.fromarray(RGB), "PNG", exif=exif))
    np.testing.assert_array_equal(found, np.rot90(RGB, -1))


def test_metadata_that_cannot_be_read_leave_the_picture() -> None:
    told = PngInfo()
    told.add_text("Raw profile type exif", "\nexif\n   4\nno hex")
    found = read_image(_encode(Image.fromarray(RGB), "PNG", pnginfo=told))
    np.testing.assert_array_equal(found, RGB)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.fromarray(np.full((4, 4, 3), v, dtype=np.uint8)) for v in (10, 200)]
    data = _encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 2  # type: ignore[attr-defined]
    assert (read_image(data) == 10).all()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "not a readable image", id="0-bytes"),
        pytest.param(b"I am a text.\n", "of no known image format", id="text-named-jpg"),
        pytest.param(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n",
            "of no known image format",
            id="program",
        ),
        pytest.param(_encode(Image.fromarray(RGB), "JPEG")[:-200], "not a readable", id="cut-jpeg"),
        pytest.param(_encode(Image.fromarray(RGB), "PNG")[:-60], "truncated", id="cut-png"),
        pytest.param(_encode(Image.fromarray(RGB), "PNG")[:12], "not a readable", id="only-header"),
        pytest.param(b"GIF89a", "not a readable image", id="gif-without-frames"),
    ],
)
@pytest.mark.parametrize("given", ["file", "bytes"])
def test_damaged(tmp_path: Path, data: bytes, says: str, given: str) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(data)
    with pytest.raises(ImageError, match=says) as caught:
        read_image(file if given == "file" else data)
    text = str(caught.value)
    assert "\n" not in text
    assert " at 0x" not in text, "an address in memory would differ from run to run"
    assert ("photo.jpg" in text) == (given == "file")


def test_damaged_pil_image() -> None:
    # Pillow reads pixels late: the damage shows only when they are asked for.
    cut = Image.open(io.BytesIO(_encode(Image.fromarray(RGB), "PNG")[:-60]))
    with pytest.raises(ImageError, match="truncated"):
        read_image(cut)


@pytest.mark.parametrize("kind", [str, Path])
def test_missing_file(tmp_path: Path, kind: Callable[[Path], str | Path]) -> None:
    missing = tmp_path / "none.jpg"
    with pytest.raises(ImageError) as caught:
        read_image(kind(missing))
    assert str(caught.value) == f"no such file: '{missing}'"
    for address in ("https://mien.example/a.jpg", Path("http://mien.example/a.jpg")):
        with pytest.raises(ImageError, match="an address, nothing is fetched: save it first"):
            read_image(address)


def test_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not a readable image"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("width", "height"),
    [
        pytest.param(8001, 8000, id="just-over"),
        pytest.param(10_000, 10_000, id="where-pillow-warns"),
        pytest.param(40_000, 40_000, id="where-pillow-refuses"),
    ],
)
def test_huge_image_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    # Decoding would fail in another way: the pixels are not there.
    with pytest.raises(ImageError, match=r"too large|exceeds limit"):
        read_image(_png_that_claims(width, height))


def test_largest_image_is_read() -> None:
    assert MAX_PIXELS == 64_000_000
    picture = Image.fromarray(GREY)
    np.testing.assert_array_equal(read_image(picture, max_pixels=GREY.size), GREY)
    with pytest.raises(ImageError, match="7x5 pixels is too large"):
        read_image(picture, max_pixels=GREY.size - 1)


def test_a_jpeg_of_very_many_scans_is_refused(tmp_path: Path) -> None:
    """Each of them has the decoder go over the whole picture again."""
    whole = _encode(Image.new("L", (64, 64), 128), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    endless = whole[:last] + 1000 * whole[last:-2] + whole[-2:]
    with pytest.raises(ImageError, match="scans: expected at most 200"):
        read_image(endless)
    (tmp_path / "endless.jpg").write_bytes(endless)
    with pytest.raises(ImageError, match="scans: expected at most 200"):
        read_image(tmp_path / "endless.jpg")
    # What follows the picture, such as the video of a phone, is none of its scans.
    assert read_image(whole + 1000 * b"\xff\xda\x01").shape == (64, 64)


def test_scans_of_all_colours_at_once_are_counted_too() -> None:
    whole = _encode(Image.effect_noise((64, 64), 90).convert("RGB"), "JPEG", progressive=True)
    assert read_image(whole).shape == (64, 64, 3)
    first = whole.index(b"\xff\xda\x00\x0c\x03")
    second = whole.index(b"\xff\xda", first + 2)
    with pytest.raises(ImageError, match="scans: expected at most 200"):
        read_image(whole[:first] + 300 * whole[first:second] + whole[second:])


def test_16_bits_of_grey_take_little_memory() -> None:
    data = _encode(Image.new("I;16", (1000, 1000), 257), "PNG")
    tracemalloc.start()
    found = read_image(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.unique(found).tolist() == [1]
    assert peak < 8_000_000


def test_odd_metadata_is_no_warning() -> None:
    data = bytearray(_encode(Image.fromarray(RGB), "TIFF", description="x" * 40))
    # The count of the description's letters, far beyond the end of the file.
    entry = data.index(struct.pack("<HH", 270, 2))
    data[entry + 4 : entry + 8] = struct.pack("<I", 1_000_000)
    with pytest.warns(UserWarning, match="Tag data larger than file"):
        Image.open(io.BytesIO(bytes(data))).load()
    np.testing.assert_array_equal(read_image(bytes(data)), RGB)


def _tiff(tags: dict[int, tuple[int, int, int]]) -> bytes:
    """Return a grey TIFF of 8x8 pixels with some of its tags replaced: type, count and value."""
    own = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 134, 277: 1, 278: 8, 279: 64}
    entries = {tag: (4, 1, value) for tag, value in own.items()} | tags
    head = b"II*\0" + struct.pack("<LH", 8, len(entries))
    body = b"".join(struct.pack("<HHLL", tag, *entries[tag]) for tag in sorted(entries))
    return (head + body + bytes(4)).ljust(134, b"\0") + bytes(64)


def test_tiffs_that_would_do_harm(capfd: pytest.CaptureFixture[str]) -> None:
    assert read_image(_tiff({})).shape == (8, 8)
    for packing in (2, 3, 4):  # whose decoders write to standard error without end
        with pytest.raises(ImageError, match=f"compression {packing}, as faxes have"):
            read_image(_tiff({259: (4, 1, packing)}))
    with pytest.raises(ImageError, match="tiles of 40000x40000 pixels: expected at most 64"):
        read_image(_tiff({322: (4, 1, 40_000), 323: (4, 1, 40_000)}))
    with pytest.raises(ImageError, match="not a readable image: the data "):
        read_image(_tiff({273: (2, 4, 6_513_249)}))  # Where its pixels lie is a text.
    assert capfd.readouterr() == ("", "")


AVIF = pytest.param(
    "AVIF", marks=pytest.mark.skipif(not features.check("avif"), reason="Pillow lacks AVIF")
)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", AVIF])
def test_any_damage_is_an_image_error(kind: str) -> None:
    whole = _encode(Image.fromarray(RGB), kind)
    draw = np.random.default_rng(2)
    refused = 0
    for number in range(150):
        data = bytearray(whole)
        if number % 3 == 0:
            data = data[: draw.integers(len(data))]
        else:
            # Half of it towards the end, where the pixels are: there, decoders stumble.
            first = number % 2 * len(data) // 2
            for place in draw.integers(first, len(data), size=1 + number % 8):
                data[place] = draw.integers(256)
        try:
            found = read_image(bytes(data))
        except ImageError:
            refused += 1
        else:
            assert found.dtype == np.uint8
            assert found.ndim in (2, 3)
    assert refused > 5


def test_pictures_that_cannot_be_written_whole_are_none(tmp_path: Path) -> None:
    """As on a full disk: a limit of file sizes stops both."""
    pytest.importorskip("resource")
    code = (
        "import resource, sys, numpy as np; from mien.images import write_image\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "write_image(sys.argv[1], np.random.default_rng(0).integers(0, 256, (300, 300, 3), 'u1'))"
    )
    file = tmp_path / "a.jpg"
    ended = subprocess.run(
        [sys.executable, "-c", code, file], check=False, capture_output=True, text=True
    )
    assert "OSError: [Errno 27]" in ended.stderr and str(file) in ended.stderr
    assert not list(tmp_path.iterdir())


def test_a_picture_is_written_through_a_link_and_by_a_long_name(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    write_image(tmp_path / "link.png", np.zeros((4, 4), np.uint8))
    assert (tmp_path / "link.png").is_symlink() and (tmp_path / "real.png").is_file()
    write_image(tmp_path / f"{'ä' * 125}.png", np.zeros((4, 4), np.uint8))
    assert len(list(tmp_path.iterdir())) == 3


def test_names_of_pictures_end_as_pictures_do(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="expected a name that ends as images do"):
        write_image(tmp_path / "a.pdf", np.zeros((4, 4), np.uint8))


def test_too_little_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*of: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr("mien.images._to_array", lacking)
    with pytest.raises(MemoryError):
        read_image(Image.new("L", (4, 4)))


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES - {".avif", ".heic", ".heif"}))
@pytest.mark.parametrize("colour", [True, False], ids=["rgb", "grey"])
def test_written_images_come_back(tmp_path: Path, suffix: str, colour: bool) -> None:
    ramp = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8) * 4
    pixels = np.repeat(ramp[..., None], 3, axis=2) if colour else ramp
    file = tmp_path / f"x{suffix}"
    write_image(file, pixels)
    found = read_image(file)
    if found.ndim > pixels.ndim:  # WebP and GIF know no grey.
        found = found[..., 0]
    assert found.shape == pixels.shape
    tolerance = 4 if suffix in {".jpg", ".jpeg", ".jpe", ".jfif", ".webp"} else 0
    assert np.abs(found.astype(int) - pixels).max() <= tolerance
