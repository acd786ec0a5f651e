"""Tests of drawing onto a copy of a picture."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageColor

from mien.annotate import COLOURS, PRINT_COLOURS, _labelled, annotate
from mien.labels import EMOTIONS
from mien.records import Box, Face

EVEN = dict.fromkeys(EMOTIONS, 1 / 8)


def _face(box: Box, emotion: str = "fear") -> Face:
    return Face(box, None, emotion, 0.9, EVEN)


def _changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    same = before if before.ndim == 3 else np.repeat(before[..., None], 3, axis=2)
    changed: NDArray[np.bool_] = (same != after).any(axis=2)
    return changed


# What is seen of linear red, green and blue by whom no red or no green cells serve (Machado et al.
# 2009, A physiologically-based model for simulation of color vision deficiency, severity 1).
SIGHT: Mapping[str, Sequence[Sequence[float]]] = {
    "all": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def _linear(colours: Mapping[str, str]) -> NDArray[np.float64]:
    sent = np.array([ImageColor.getrgb(colour) for colour in colours.values()]) / 255
    found: NDArray[np.float64] = np.where(
        sent > 0.04045, ((sent + 0.055) / 1.055) ** 2.4, sent / 12.92
    )
    return found


def _oklab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ottosson 2020, bottosson.github.io/posts/oklab: differences are as large as they look."""
    cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    axes = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    found: NDArray[np.float64] = np.cbrt(linear @ np.array(cones).T) @ np.array(axes).T
    return found


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("colours", [COLOURS, PRINT_COLOURS], ids=["dark", "light"])
def test_emotions_have_colours_that_everybody_tells_apart(
    colours: Mapping[str, str], sight: str
) -> None:
    assert tuple(colours) == EMOTIONS
    seen = _oklab((_linear(colours) @ np.array(SIGHT[sight]).T).clip(0, 1))
    apart = np.linalg.norm(seen[:, None] - seen, axis=2)
    closest = apart[np.triu_indices(len(seen), 1)].min()
    assert closest > (0.06 if sight == "no blue" else 0.08)


@pytest.mark.parametrize(("colours", "page"), [(COLOURS, 0.009), (PRINT_COLOURS, 1.0)])
def test_emotions_stand_out_from_the_page(colours: Mapping[str, str], page: float) -> None:
    light = _linear(colours) @ [0.2126, 0.7152, 0.0722]
    contrast = (np.maximum(light, page) + 0.05) / (np.minimum(light, page) + 0.05)
    assert contrast.min() >= 3  # WCAG 2.2, 1.4.11, of what is no text


@pytest.mark.parametrize("shape", [(200, 300), (200, 300, 3)], ids=["grey", "rgb"])
def test_without_faces_the_copy_is_the_same(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    copy = annotate(pixels, [])
    assert copy.shape == (200, 300, 3)
    assert copy.dtype == np.uint8
    assert not np.shares_memory(copy, pixels)
    assert not _changed(pixels, copy).any()


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_box_and_label_bear_the_emotions_colour(emotion: str) -> None:
    pixels = np.zeros((300, 300, 3), dtype=np.uint8)
    found = annotate(pixels, [_face(Box(100, 120, 80, 90), emotion)])
    assert not pixels.any(), "the given picture is left as it is"
    colour = ImageColor.getrgb(COLOURS[emotion])
    middle_of_left_line = found[165, 101]
    assert tuple(middle_of_left_line) == colour
    label = (found[98:118, 100:180] == colour).all(axis=2)
    assert label.any(), "the label lies above the box"


def test_only_the_surroundings_of_the_face_change() -> None:
    pixels = np.full((400, 400), 60, dtype=np.uint8)
    changed = _changed(pixels, annotate(pixels, [_face(Box(150, 150, 80, 80))]))
    assert changed[149:232, 149:232].any()
    assert not changed[165:215, 165:215].any(), "the face itself stays visible"
    assert not changed[250:].any()
    assert not changed[:, :140].any()


@pytest.mark.parametrize(
    ("box", "below"),
    [
        pytest.param(Box(50, 100, 120, 120), True, id="room-below"),
        pytest.param(Box(270, 100, 120, 120), True, id="room-below-at-the-edge"),
        pytest.param(Box(50, 100, 100, 100), False, id="too-small-for-bars"),
        pytest.param(Box(50, 230, 120, 140), False, id="no-room-below"),
        pytest.param(Box(20, 20, 360, 360), False, id="fills-the-picture"),
    ],
)
def test_bars_are_drawn_below_where_there_is_room(box: Box, below: bool) -> None:
    pixels = np.full((400, 400, 3), 255, dtype=np.uint8)
    changed = _changed(pixels, annotate(pixels, [_face(box)]))
    bottom, left, right = int(box.y + box.height), int(box.x), int(box.x + box.width)
    assert changed[bottom + 4 :].any() == below
    # Neither panel nor label covers what is beside the face.
    assert not changed[:, : left - 3].any()
    assert not changed[:, right + 4 :].any()


def test_bars_do_not_cover_the_face_below() -> None:
    pixels = np.full((400, 400, 3), 255, dtype=np.uint8)
    upper, lower = _face(Box(50, 30, 150, 150)), _face(Box(50, 200, 150, 150))
    assert _changed(pixels, annotate(pixels, [upper]))[200:240, 60:190].any()
    both = _changed(pixels, annotate(pixels, [upper, lower]))
    assert not both[206:340, 60:190].any()


def test_bars_show_the_likeliest_emotions_in_their_colours() -> None:
    shares = {"fear": 0.5, "anger": 0.1, "neutral": 0.05, "disgust": 0.35}
    face = Face(Box(100, 50, 200, 200), 0.9, "fear", 0.5, shares)
    found = annotate(np.zeros((400, 400, 3), dtype=np.uint8), [face])[254:]
    areas = {e: int((found == ImageColor.getrgb(COLOURS[e])).all(axis=2).sum()) for e in EMOTIONS}
    assert areas["fear"] > areas["disgust"] > areas["anger"] > 0
    assert not any(areas[emotion] for emotion in EMOTIONS if emotion not in shares)
    assert areas["neutral"] == 0, "only three are shown"


@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 9), (5, 60), (60, 5), (30, 30, 3), (400, 150)], ids=str
)
@pytest.mark.parametrize(
    "box",
    [
        pytest.param(Box(0, 0, 1, 1), id="a-pixel"),
        pytest.param(Box(0, 0, 0, 0), id="empty"),
        pytest.param(Box(-50, -50, 900, 900), id="larger-than-the-picture"),
        pytest.param(Box(1000, 1000, 150, 150), id="outside"),
        pytest.param(Box(0.4, 0.6, 3.3, 2.2), id="fractions"),
    ],
)
def test_any_picture_and_box_can_be_drawn(shape: tuple[int, ...], box: Box) -> None:
    pixels = np.zeros(shape, dtype=np.uint8)
    assert annotate(pixels, [_face(box), _face(box, "anger")]).shape == (*shape[:2], 3)


def test_a_model_with_fewer_emotions() -> None:
    face = Face(Box(10, 10, 150, 150), 0.8, "anger", 0.6, {"anger": 0.6, "fear": 0.4})
    pixels = np.zeros((300, 400, 3), dtype=np.uint8)
    assert _changed(pixels, annotate(pixels, [face])).any()


@pytest.mark.parametrize("track", [None, 7], ids=["picture", "film"])
def test_labels_of_a_crowd_do_not_hide_each_other(track: int | None) -> None:
    faces = [
        Face(Box(20.0 + 55 * i, 40.0 + 60 * j, 40, 50), 0.9, emotion, 0.9, EVEN, track)
        for i in range(8)
        for j, emotion in enumerate(("happiness", "surprise", "contempt", "disgust"))
    ]
    unit, labels = _labelled(faces, (800, 600))
    assert 10 <= unit < 600 / 42
    places = [label.place for label in labels]
    assert not any(a.overlap(b) for i, a in enumerate(places) for b in places[:i])
    assert all("90%" in label.text or label.text == "7" for label in labels)
    one = _labelled(faces[:1], (800, 600))
    assert one[0] == 600 / 42


def test_where_no_label_fits_the_least_is_written() -> None:
    faces = [_face(Box(100.0 + 9 * i, 100, 60, 60)) for i in range(9)]
    unit, labels = _labelled(faces, (400, 400))
    assert unit == 10
    assert {label.text for label in labels} == {"fear 90%", "90%"}
