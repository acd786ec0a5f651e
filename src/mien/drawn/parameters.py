"""The parameters of one drawn face, and how they are sampled.

Knows what a face may vary in and how often; knows nothing about drawing.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from mien.labels import EMOTIONS

Colour = tuple[float, float, float]
HairStyle = Literal[
    "bald", "buzz", "short", "side part", "fringe", "curly", "bob", "long", "bun", "headscarf"
]
Beard = Literal["none", "stubble", "full", "goatee", "moustache"]
Glasses = Literal["none", "clear", "sunglasses"]
Background = Literal["plain", "gradient", "lights", "stripes"]

HAIR_STYLES: tuple[HairStyle, ...] = get_args(HairStyle)
BEARDS: tuple[Beard, ...] = get_args(Beard)
BACKGROUNDS: tuple[Background, ...] = get_args(Background)

# Chances of each hair style (in the order of HAIR_STYLES) at both ends of the masculinity axis.
_FEMININE_HAIR = np.array([0.01, 0.02, 0.06, 0.10, 0.13, 0.15, 0.16, 0.18, 0.10, 0.09])
_MASCULINE_HAIR = np.array([0.13, 0.15, 0.30, 0.18, 0.07, 0.12, 0.01, 0.03, 0.01, 0.00])
_BEARD_CHANCES = np.array([0.46, 0.20, 0.16, 0.08, 0.10])

_HAIR_COLOURS: tuple[Colour, ...] = (
    (34, 27, 28),
    (52, 36, 30),
    (82, 54, 38),
    (116, 76, 48),
    (158, 108, 62),
    (206, 166, 104),
    (150, 70, 40),
)
_GREY_HAIR: Colour = (176, 174, 172)
_IRIS_COLOURS: tuple[Colour, ...] = (
    (66, 42, 28),
    (92, 60, 36),
    (120, 88, 48),
    (88, 112, 72),
    (78, 116, 148),
    (112, 128, 138),
)

# Resting variation: standard deviation of each action unit on a face at rest. Small beside the
# full expressions (1.0), yet enough that a weak expression and a lively rest can be mistaken.
_RESTING_SPREAD = {1: 0.06, 2: 0.06, 4: 0.08, 5: 0.05, 7: 0.08, 12: 0.06, 15: 0.06, 17: 0.08}


@dataclass(frozen=True, slots=True)
class FaceParameters:
    """Everything that decides how one face is drawn.

    Lengths marked "factor" multiply an average face. Colours are RGB, 0..255 a channel.
    """

    emotion: str  # one of mien.labels.EMOTIONS
    intensity: float  # 0 (at rest) .. 1 (full prototype)
    variant: float  # 0..1, which way of showing the emotion (lips closed .. open)
    side: int  # -1 or 1, image side that moves in a one-sided expression
    asymmetry: float  # -0.15..0.15, how much stronger the right image side moves
    resting: tuple[tuple[int, float], ...]  # (action unit, activation) of the face at rest
    skin_tone: float  # 0 (lightest) .. 1 (darkest)
    undertone: float  # -1 (olive) .. 1 (rosy)
    age: float  # 0 (young) .. 1 (old), shows in lines and grey hair
    freckles: float  # 0..1, opacity
    head_width: float  # factor, 0.92..1.07
    jaw_width: float  # factor, 0.88..1.14
    chin_length: float  # factor, 0.96..1.05
    brow_height: float  # -0.03..0.03 face units, positive is higher
    brow_thickness: float  # factor, 0.65..1.4
    eye_size: float  # factor, 0.9..1.14
    eye_spacing: float  # factor, 0.95..1.06
    eye_tilt: float  # -0.02..0.03 face units, positive lifts the outer corner
    eye_openness: float  # factor, 0.85..1.12, lids at rest
    iris_colour: Colour
    lashes: float  # 0..1
    nose_width: float  # factor, 0.85..1.2
    nose_length: float  # factor, 0.92..1.08
    mouth_width: float  # factor, 0.88..1.12
    lip_fullness: float  # factor, 0.7..1.4
    lipstick: float  # 0 (none) .. 1 (strong)
    lipstick_colour: Colour
    hair_style: HairStyle
    hair_colour: Colour
    hair_volume: float  # 0..1
    hair_side: int  # -1 or 1, image side of the parting
    beard: Beard
    glasses: Glasses
    glasses_roundness: float  # 0 (square) .. 1 (round)
    glasses_colour: Colour
    clothes_colour: Colour
    scarf_colour: Colour
    light_direction: float  # degrees, 0 from the right, 90 from above, 180 from the left
    light_strength: float  # 0 (flat) .. 1 (hard side light)
    light_colour: Colour  # channel gains around 1, 0.8..1.15
    exposure: float  # gain, 0.75..1.2
    yaw: float  # degrees, -22..22, positive turns to the right of the picture
    pitch: float  # degrees, -10..10, positive looks up
    roll: float  # degrees, -12..12, positive tilts clockwise
    gaze_x: float  # -1..1
    gaze_y: float  # -1..1
    shift_x: float  # -0.08..0.08 of the frame's half width
    shift_y: float  # -0.08..0.08 of the frame's half height
    scale: float  # 0.88..1.10, 1 fills the frame from the hairline to the chin
    noise: float  # 0..8 grey levels, standard deviation
    blur: float  # 0..0.9 % of the frame's width, Gaussian standard deviation
    background: Background
    background_colours: tuple[Colour, Colour]
    noise_seed: int  # 0..2**31-1, seeds noise, freckles, curls and strands


def sample_parameters(emotion: str, *, seed: int, clean: bool = False) -> FaceParameters:
    """Sample a face showing `emotion`; the same seed gives the same face.

    `clean` gives the same person as a portrait: frontal, evenly lit, sharp, at full intensity
    and with nothing over the eyes.
    """
    check_emotion(emotion)
    rng = np.random.default_rng([seed, EMOTIONS.index(emotion)])
    face = _sample_face(emotion, rng)
    return _cleaned(face) if clean else face


def check_emotion(emotion: str) -> None:
    """Raise ValueError unless `emotion` is one of the eight."""
    if emotion not in EMOTIONS:
        raise ValueError(f"unknown emotion {emotion!r}: expected one of {', '.join(EMOTIONS)}")


def _sample_face(emotion: str, rng: np.random.Generator) -> FaceParameters:
    # Masculinity and age are latent: they tie hair, beard, jaw and lashes into plausible people.
    masculinity = float(rng.beta(0.5, 0.5))
    age = float(rng.beta(1.2, 2.2))
    skin_tone = float(rng.uniform())
    hair_style = _sample_hair_style(masculinity, rng)
    return FaceParameters(
        emotion=emotion,
        intensity=_sample_intensity(rng),
        variant=float(rng.uniform()),
        side=_sign(rng),
        asymmetry=_bell(rng, 0.0, 0.06, 0.15),
        resting=_sample_resting(rng),
        skin_tone=skin_tone,
        undertone=float(rng.uniform(-1, 1)),
        age=age,
        freckles=float(rng.uniform(0.3, 0.8)) if skin_tone < 0.4 and rng.uniform() < 0.2 else 0.0,
        head_width=_bell(rng, 0.99 + 0.02 * masculinity, 0.03, 0.055),
        jaw_width=_bell(rng, 0.96 + 0.1 * masculinity, 0.04, 0.08),
        chin_length=_bell(rng, 1.0, 0.02, 0.04),
        brow_height=_bell(rng, 0.004 - 0.012 * masculinity, 0.01, 0.018),
        brow_thickness=_bell(rng, 0.86 + 0.34 * masculinity, 0.12, 0.2),
        eye_size=_bell(rng, 1.05 - 0.06 * masculinity, 0.04, 0.08),
        eye_spacing=_bell(rng, 1.0, 0.02, 0.05),
        eye_tilt=_bell(rng, 0.005, 0.01, 0.02),
        eye_openness=_bell(rng, 1.0, 0.05, 0.12),
        iris_colour=_sample_iris(skin_tone, rng),
        lashes=float(np.clip(0.9 - 0.8 * masculinity + rng.normal(0, 0.1), 0, 1)),
        nose_width=_bell(rng, 0.97 + 0.12 * skin_tone, 0.05, 0.1),
        nose_length=_bell(rng, 1.0, 0.03, 0.08),
        mouth_width=_bell(rng, 1.0, 0.04, 0.1),
        lip_fullness=_bell(rng, 0.95 + 0.25 * skin_tone, 0.1, 0.2),
        lipstick=float(rng.uniform(0.2, 0.9)) if rng.uniform() > masculinity + 0.25 else 0.0,
        lipstick_colour=_hsv(
            rng.uniform(0.94, 1.03), rng.uniform(0.5, 0.75), rng.uniform(0.6, 0.8)
        ),
        hair_style=hair_style,
        hair_colour=_sample_hair_colour(skin_tone, age, rng),
        hair_volume=float(rng.uniform()),
        hair_side=_sign(rng),
        beard=_sample_beard(masculinity, hair_style, rng),
        glasses=_sample_glasses(rng),
        glasses_roundness=float(rng.uniform()),
        glasses_colour=_hsv(rng.uniform(), rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.4)),
        clothes_colour=_hsv(rng.uniform(), rng.uniform(0.1, 0.45), rng.uniform(0.3, 0.75)),
        scarf_colour=_hsv(rng.uniform(), rng.uniform(0.08, 0.36), rng.uniform(0.4, 0.88)),
        light_direction=float(rng.uniform(0, 180)),
        light_strength=float(rng.beta(1.5, 2.0)),
        light_colour=_sample_light_colour(rng),
        exposure=float(rng.uniform(0.75, 1.2)),
        yaw=_bell(rng, 0, 8, 22),
        pitch=_bell(rng, 0, 4, 10),
        roll=_bell(rng, 0, 4, 12),
        gaze_x=_bell(rng, 0, 0.4, 1),
        gaze_y=_bell(rng, 0, 0.3, 1),
        shift_x=_bell(rng, 0, 0.03, 0.08),
        shift_y=_bell(rng, 0, 0.03, 0.08),
        scale=_bell(rng, 0.99, 0.05, 0.11),
        noise=float(rng.uniform(0, 8)),
        blur=float(rng.uniform(0.2, 0.9)) if rng.uniform() < 0.4 else 0.0,
        background=BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))],
        background_colours=_sample_background(rng),
        noise_seed=int(rng.integers(2**31)),
    )


def _cleaned(face: FaceParameters) -> FaceParameters:
    return replace(
        face,
        intensity=1.0,
        asymmetry=0.0,
        resting=(),
        glasses="none" if face.glasses == "sunglasses" else face.glasses,
        light_direction=60.0 if face.light_direction < 90 else 120.0,
        light_strength=0.35,
        light_colour=(1.0, 1.0, 1.0),
        exposure=1.0,
        yaw=0.0,
        pitch=0.0,
        roll=0.0,
        gaze_x=0.0,
        gaze_y=0.0,
        shift_x=0.0,
        shift_y=0.0,
        scale=0.98,
        noise=0.0,
        blur=0.0,
        background="gradient",
    )


def _bell(rng: np.random.Generator, mean: float, spread: float, reach: float) -> float:
    """Return a normal sample, cut to `reach` on either side of its mean."""
    return mean + float(np.clip(rng.normal(0, spread), -reach, reach))


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.uniform() < 0.5 else -1


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(float(hue) % 1.0, float(saturation), float(value))
    return (255 * red, 255 * green, 255 * blue)


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def _sample_intensity(rng: np.random.Generator) -> float:
    # One face in ten is weak: the border with neutral, where a classifier has to work.
    return float(rng.uniform(0.35, 0.6) if rng.uniform() < 0.1 else rng.uniform(0.6, 1.0))


def _sample_resting(rng: np.random.Generator) -> tuple[tuple[int, float], ...]:
    return tuple(
        (unit, float(np.clip(rng.normal(0, spread), -2 * spread, 2 * spread)))
        for unit, spread in _RESTING_SPREAD.items()
    )


def _sample_hair_style(masculinity: float, rng: np.random.Generator) -> HairStyle:
    chances = (1 - masculinity) * _FEMININE_HAIR + masculinity * _MASCULINE_HAIR
    return HAIR_STYLES[int(rng.choice(len(HAIR_STYLES), p=chances / chances.sum()))]


def _sample_hair_colour(skin_tone: float, age: float, rng: np.random.Generator) -> Colour:
    # Light hair is rarer on darker skin; grey comes with age.
    darkness = np.exp(-(1.2 + 6 * skin_tone**1.5) * np.arange(len(_HAIR_COLOURS)) / 6)
    colour = _HAIR_COLOURS[int(rng.choice(len(_HAIR_COLOURS), p=darkness / darkness.sum()))]
    greying = float(np.clip((age - 0.5) * 2.2 + rng.normal(0, 0.15), 0, 1))
    return _mix(colour, _GREY_HAIR, greying)


def _sample_iris(skin_tone: float, rng: np.random.Generator) -> Colour:
    weights = np.exp(-(0.3 + 5 * skin_tone) * np.arange(len(_IRIS_COLOURS)) / 3)
    return _IRIS_COLOURS[int(rng.choice(len(_IRIS_COLOURS), p=weights / weights.sum()))]


def _sample_beard(masculinity: float, hair: HairStyle, rng: np.random.Generator) -> Beard:
    beard = BEARDS[int(rng.choice(len(BEARDS), p=_BEARD_CHANCES))]
    return beard if masculinity > 0.6 and hair != "headscarf" else "none"


def _sample_glasses(rng: np.random.Generator) -> Glasses:
    draw = rng.uniform()
    return "sunglasses" if draw < 0.03 else "clear" if draw < 0.2 else "none"


def _sample_light_colour(rng: np.random.Generator) -> Colour:
    warmth = float(np.clip(rng.normal(0, 0.06), -0.13, 0.13))
    return (1 + warmth, 1.0, 1 - warmth)


def _sample_background(rng: np.random.Generator) -> tuple[Colour, Colour]:
    hue = rng.uniform()
    first = _hsv(hue, rng.uniform(0.06, 0.34), rng.uniform(0.5, 0.95))
    second = _hsv(hue + rng.normal(0, 0.06), rng.uniform(0.08, 0.4), rng.uniform(0.35, 0.9))
    return first, second
