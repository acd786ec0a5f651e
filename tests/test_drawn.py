"""Tests of the drawn faces."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.drawn import (
    FaceParameters,
    draw_face,
    draw_portrait,
    draw_scene,
    sample_parameters,
)
from mien.drawn.expression import action_units
from mien.drawn.parameters import BACKGROUNDS, BEARDS, HAIR_STYLES
from mien.labels import EMOTIONS

Box = tuple[float, float, float, float]

# Each field's inclusive range, as FaceParameters documents it.
RANGES = {
    "intensity": (0, 1),
    "variant": (0, 1),
    "asymmetry": (-0.15, 0.15),
    "skin_tone": (0, 1),
    "undertone": (-1, 1),
    "age": (0, 1),
    "freckles": (0, 1),
    "head_width": (0.92, 1.07),
    "jaw_width": (0.88, 1.14),
    "chin_length": (0.96, 1.05),
    "brow_height": (-0.03, 0.03),
    "brow_thickness": (0.65, 1.4),
    "eye_size": (0.9, 1.14),
    "eye_spacing": (0.95, 1.06),
    "eye_tilt": (-0.02, 0.03),
    "eye_openness": (0.85, 1.12),
    "lashes": (0, 1),
    "nose_width": (0.85, 1.2),
    "nose_length": (0.92, 1.08),
    "mouth_width": (0.88, 1.12),
    "lip_fullness": (0.7, 1.4),
    "lipstick": (0, 1),
    "hair_volume": (0, 1),
    "glasses_roundness": (0, 1),
    "light_direction": (0, 180),
    "light_strength": (0, 1),
    "exposure": (0.75, 1.2),
    "yaw": (-22, 22),
    "pitch": (-10, 10),
    "roll": (-12, 12),
    "gaze_x": (-1, 1),
    "gaze_y": (-1, 1),
    "shift_x": (-0.08, 0.08),
    "shift_y": (-0.08, 0.08),
    "scale": (0.88, 1.10),
    "noise": (0, 8),
    "blur": (0, 0.9),
    "noise_seed": (0, 2**31 - 1),
}
COLOURS = ("iris_colour", "lipstick_colour", "hair_colour", "clothes_colour", "scarf_colour")


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def overlap(first: Box, second: Box) -> float:
    """Return the intersection over union of two boxes."""
    wide = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    high = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / (first[2] * first[3] + second[2] * second[3] - shared)


# Parameters


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_seed_gives_one_face(emotion: str) -> None:
    assert sample_parameters(emotion, seed=7) == sample_parameters(emotion, seed=7)
    assert sample_parameters(emotion, seed=7) != sample_parameters(emotion, seed=8)
    assert sample_parameters(emotion, seed=7).emotion == emotion


def test_sampling_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state(legacy=True)
    draw_face(sample_parameters("fear", seed=1))
    assert str(before) == str(np.random.get_state(legacy=True))


def test_every_parameter_stays_in_its_range() -> None:
    for seed in range(120):
        for emotion in EMOTIONS:
            face = sample_parameters(emotion, seed=seed)
            for name, (low, high) in RANGES.items():
                assert low <= getattr(face, name) <= high, name
            for name in COLOURS:
                assert all(0 <= channel <= 255 for channel in getattr(face, name)), name
            assert face.side in (-1, 1)
            assert face.hair_side in (-1, 1)


def test_sampling_reaches_every_choice_and_the_breadth_of_skin_tones() -> None:
    faces = [sample_parameters("neutral", seed=seed) for seed in range(400)]
    assert {face.hair_style for face in faces} == set(HAIR_STYLES)
    assert {face.beard for face in faces} == set(BEARDS)
    assert {face.background for face in faces} == set(BACKGROUNDS)
    assert {face.glasses for face in faces} == {"none", "clear", "sunglasses"}
    tones = np.histogram([face.skin_tone for face in faces], bins=5, range=(0, 1))[0]
    assert tones.min() > 40


def test_clean_keeps_the_person_and_drops_what_hinders() -> None:
    for seed in range(30):
        wild = sample_parameters("anger", seed=seed)
        clean = sample_parameters("anger", seed=seed, clean=True)
        assert clean.skin_tone == wild.skin_tone
        assert clean.hair_style == wild.hair_style
        assert clean.intensity == 1
        assert clean.glasses != "sunglasses"
        assert (clean.yaw, clean.pitch, clean.roll, clean.noise, clean.blur) == (0, 0, 0, 0, 0)


def test_most_expressions_are_clear() -> None:
    intensities = [sample_parameters("fear", seed=seed).intensity for seed in range(400)]
    assert 0.8 < float(np.mean(np.array(intensities) >= 0.55)) < 1.0


def test_parameters_cannot_be_changed() -> None:
    face = sample_parameters("neutral", seed=0)
    with pytest.raises(FrozenInstanceError):
        face.yaw = 3.0  # type: ignore[misc]
    assert not hasattr(face, "__dict__")
    assert {"emotion", "intensity", "noise_seed"} <= {
        field.name for field in fields(FaceParameters)
    }


def test_an_unknown_emotion_is_named_with_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"unknown emotion 'joy'.*neutral, happiness"):
        sample_parameters("joy", seed=0)
    with pytest.raises(ValueError, match="unknown emotion 'joy'"):
        draw_scene(["happiness", "joy"], seed=0)
    with pytest.raises(ValueError, match="unknown emotion 'joy'"):
        draw_face(replace(sample_parameters("neutral", seed=0), emotion="joy"))


# Expressions


@pytest.mark.parametrize(
    ("emotion", "units"),
    [
        ("neutral", set()),
        ("happiness", {6, 12}),
        ("sadness", {1, 4, 15}),
        ("surprise", {1, 2, 5, 26}),
        ("fear", {1, 2, 4, 5, 20}),
        ("disgust", {9, 15, 16}),
        ("anger", {4, 5, 7}),
        ("contempt", {12, 14}),
    ],
)
def test_each_emotion_moves_its_action_units(emotion: str, units: set[int]) -> None:
    for seed in range(10):
        face = sample_parameters(emotion, seed=seed, clean=True)
        moved = action_units(face)
        side = face.side if emotion == "contempt" else 0
        assert all(moved.of(unit, side) > 0.3 for unit in units)
        assert bool(units) == any(abs(moved.of(unit)) > 0.01 for unit in range(1, 50))


def test_contempt_moves_one_side_only() -> None:
    face = sample_parameters("contempt", seed=3, clean=True)
    moved = action_units(face)
    assert moved.of(12, face.side) > 0.5
    assert moved.of(12, -face.side) == 0


def test_intensity_scales_the_movement() -> None:
    full = sample_parameters("surprise", seed=2, clean=True)
    half = action_units(replace(full, intensity=0.5))
    assert half.of(26) == pytest.approx(0.5 * action_units(full).of(26))


# Pictures


@pytest.mark.parametrize("emotion", EMOTIONS)
@pytest.mark.parametrize("size", [16, 48, 96, 160])
def test_every_emotion_draws_at_several_sizes(emotion: str, size: int) -> None:
    image = draw_face(sample_parameters(emotion, seed=5), size=size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.std() > 8


def test_the_same_parameters_draw_the_same_bytes() -> None:
    for seed in range(6):
        first = draw_face(sample_parameters("disgust", seed=seed), size=48)
        second = draw_face(sample_parameters("disgust", seed=seed), size=48)
        assert first.tobytes() == second.tobytes()


def test_seeds_and_emotions_draw_different_faces() -> None:
    images = {
        draw_face(sample_parameters(emotion, seed=seed), size=32).tobytes()
        for emotion in EMOTIONS
        for seed in range(8)
    }
    assert len(images) == 8 * len(EMOTIONS)


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_every_hair_style_changes_the_picture(style: str) -> None:
    bald = replace(sample_parameters("neutral", seed=4, clean=True), hair_style="bald")
    other = "buzz" if style == "bald" else style
    image = draw_face(replace(bald, hair_style=other), size=64)  # type: ignore[arg-type]
    assert np.abs(image.astype(int) - draw_face(bald, size=64)).mean() > 1


@pytest.mark.parametrize("emotion", EMOTIONS[1:])
def test_expressions_differ_from_neutral_at_brows_and_mouth(emotion: str) -> None:
    for seed in range(4):
        person = replace(
            sample_parameters("neutral", seed=seed, clean=True), glasses="none", beard="none"
        )
        rest = grey(draw_face(person, size=96)).astype(int)
        moved = grey(draw_face(replace(person, emotion=emotion), size=96)).astype(int)
        change = np.abs(moved - rest)
        mouth, corner = change[58:86, 24:72].mean(), change[:10, :10].mean()
        assert mouth > 1.5
        assert corner < 2
        if emotion in ("sadness", "surprise", "fear", "disgust", "anger"):
            assert change[18:36, 16:80].mean() > 1.5


def test_a_portrait_shows_more_than_the_face() -> None:
    person = sample_parameters("happiness", seed=1, clean=True)
    assert draw_portrait(person, size=128).shape == (128, 128, 3)
    assert not np.array_equal(draw_portrait(person, size=64), draw_face(person, size=64))


# Scenes


@pytest.mark.parametrize("count", [0, 1, 3, 5, 8])
def test_boxes_lie_inside_the_scene(count: int) -> None:
    image, boxes = draw_scene(EMOTIONS[:count], seed=count, width=480, height=270)
    assert image.shape == (270, 480, 3)
    assert image.dtype == np.uint8
    assert len(boxes) == count
    for x, y, width, height in boxes:
        assert width > 0
        assert height > 0
        assert x >= 0
        assert y >= 0
        assert x + width <= 480
        assert y + height <= 270


def test_faces_of_a_scene_do_not_cover_each_other() -> None:
    for seed in range(3):
        _, boxes = draw_scene(EMOTIONS, seed=seed, width=480, height=270)
        for index, box in enumerate(boxes):
            assert all(overlap(box, other) < 0.15 for other in boxes[:index])


def test_a_scene_is_decided_by_its_seed() -> None:
    first, boxes = draw_scene(["happiness", "anger"], seed=4, width=320, height=180)
    again, same = draw_scene(["happiness", "anger"], seed=4, width=320, height=180)
    other, _ = draw_scene(["happiness", "anger"], seed=5, width=320, height=180)
    assert first.tobytes() == again.tobytes()
    assert boxes == same
    assert first.tobytes() != other.tobytes()


def test_a_face_detector_finds_the_faces_of_a_scene() -> None:
    detector = cv2.CascadeClassifier(
        cv2.data.haarcascades + "haarcascade_frontalface_default.xml"  # type: ignore[attr-defined]
    )
    people = found = false_alarms = 0
    for seed in range(6):
        emotions = [EMOTIONS[(3 * seed + index) % 8] for index in range(2 + seed % 4)]
        image, boxes = draw_scene(emotions, seed=seed)
        raw = detector.detectMultiScale(grey(image), 1.1, 4, minSize=(40, 40))
        hits: list[Box] = [(float(x), float(y), float(w), float(h)) for x, y, w, h in raw]
        matched = sum(any(overlap(hit, box) > 0.4 for hit in hits) for box in boxes)
        people, found = people + len(boxes), found + matched
        false_alarms += len(hits) - matched
    assert found >= 0.8 * people
    assert false_alarms <= 2
