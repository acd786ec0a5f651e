"""Paints a head without its hair: skin, shading, eyes, brows, nose, mouth.

The one place that knows where each action unit moves the skin.
"""

from __future__ import annotations

import cv2
import numpy as np

from mien.drawn.canvas import Points, curve, ellipse, loop, moved, ribbon
from mien.drawn.parameters import Colour
from mien.drawn.sitter import Sitter, mixed, scaled

Line = list[tuple[float, float]]

SIDES = (-1, 1)
_CHEEK = 0.79  # half width of the head at the cheekbones, face units
_EYE_Y = -0.20
_MOUTH_Y = 0.50
_SCLERA: Colour = (250, 247, 243)
_TEETH: Colour = (248, 244, 236)
_MOUTH_INSIDE: Colour = (74, 22, 26)
_TONGUE: Colour = (196, 88, 92)


def cheek(sitter: Sitter) -> float:
    """Return the head's half width at the cheekbones."""
    return _CHEEK * sitter.face.head_width


def chin(sitter: Sitter) -> float:
    """Return the height of the chin's lowest point."""
    return 0.97 * sitter.face.chin_length + sitter.jaw_drop


def head_outline(sitter: Sitter) -> Points:
    """Return the outline of the bare head, in pixels."""
    width, jaw, bottom = cheek(sitter), 0.60 * sitter.face.jaw_width, chin(sitter)
    right = np.array(
        [
            (0.44 * width, -1.27, 0),
            (0.82 * width, -1.03, 0),
            (0.985 * width, -0.62, 0),
            (1.005 * width, -0.15, 0),
            (0.955 * width, 0.26, 0),
            (jaw, 0.62 + 0.6 * sitter.jaw_drop, 0.12),
            (0.32 * sitter.face.jaw_width, bottom - 0.09, 0.35),
        ]
    )
    left = right[::-1] * (-1, 1, 1)
    outline = np.concatenate([[(0, -1.345, 0)], right, [(0, bottom, 0.42)], left])
    return loop(sitter.view.flat(outline[:, :2], outline[:, 2]))


def paint_head(sitter: Sitter) -> None:
    """Paint ears, skin and every feature of the face."""
    for side in SIDES:
        _paint_ear(sitter, side)
    outline = head_outline(sitter)
    sitter.canvas.fill(sitter.skin, outline)
    with sitter.canvas.clipped(outline):
        _shade_volume(sitter)
        _shade_features(sitter)
    for side in SIDES:
        _paint_eye(sitter, side)
    _paint_nose(sitter)


def _paint_ear(sitter: Sitter, side: int) -> None:
    x = cheek(sitter) * 0.985
    shape = np.array(
        [(x - 0.04, -0.16), (x + 0.06, -0.22), (x + 0.13, -0.12), (x + 0.10, 0.08),
         (x + 0.05, 0.22), (x - 0.02, 0.26), (x - 0.06, 0.10)]
    )  # fmt: skip
    inner = np.array([(x + 0.05, -0.14), (x + 0.09, -0.08), (x + 0.06, 0.06), (x + 0.02, 0.14)])
    outline = loop(sitter.view.flat(shape * (side, 1), -0.12))
    sitter.canvas.fill(mixed(sitter.skin, sitter.shadow, 0.25), outline)
    fold = ribbon(curve(sitter.view.flat(inner * (side, 1), -0.12)), sitter.px(0.035))
    sitter.canvas.soft(sitter.shadow, fold, alpha=0.8, blur=sitter.px(0.012))


def _shade_volume(sitter: Sitter) -> None:
    """Shade the head as an ellipsoid lit from one side."""
    height, width = sitter.canvas.image.shape[:2]
    grid_x, grid_y = np.meshgrid(
        (np.arange(24) + 0.5) / 24 * width, (np.arange(24) + 0.5) / 24 * height
    )
    centre = sitter.view.flat((0.0, -0.15), 0.35)
    x = (grid_x - centre[0]) / sitter.px(0.88)
    y = (grid_y - centre[1]) / sitter.px(1.35)
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0.02))
    angle, strength = np.radians(sitter.face.light_direction), sitter.face.light_strength
    lit = 0.75 * (x * np.cos(angle) - y * np.sin(angle)) + 0.66 * z
    shade = 0.16 * (1 - z) + strength * 0.75 * np.clip(0.62 - lit, 0, 1)
    gain = 1 - shade[..., None] * (1 - np.array([0.66, 0.52, 0.48]))
    gain += 0.16 * strength * np.clip(lit - 0.72, 0, 1)[..., None]
    full = cv2.resize(gain.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    sitter.canvas.multiply(full)


def _soft(
    sitter: Sitter, colour: Colour, points: Points, alpha: float, blur: float, *, lift: float = 0.0
) -> None:
    sitter.canvas.soft(colour, sitter.view.on(points, lift), alpha=alpha, blur=sitter.px(blur))


def _soft_pair(
    sitter: Sitter, colour: Colour, points: Points, alpha: float, blur: float, *, lift: float = 0.0
) -> None:
    """Paint a shape and its mirror image."""
    pair = (sitter.view.on(points * (side, 1), lift) for side in SIDES)
    sitter.canvas.soft(colour, *pair, alpha=alpha, blur=sitter.px(blur))


def _soft_lines(
    sitter: Sitter, colour: Colour, lines: list[Line], width: float, alpha: float
) -> None:
    """Paint wrinkles: lines that taper at both ends."""
    if alpha <= 0.02:
        return
    widths = sitter.px(width) * np.array([0.3, 1.0, 0.2])
    strokes = [ribbon(curve(sitter.view.on(line)), widths) for line in lines]
    sitter.canvas.soft(colour, *strokes, alpha=alpha, blur=sitter.px(0.35 * width))


def _shade_features(sitter: Sitter) -> None:
    _shade_forehead(sitter)
    _shade_sockets(sitter)
    for side in SIDES:
        _shade_cheek(sitter, side)
        _paint_side_lines(sitter, side)
    _shade_nose(sitter)
    _shade_chin(sitter)
    _paint_frown_lines(sitter)
    _paint_freckles(sitter)


def _shade_forehead(sitter: Sitter) -> None:
    _soft(sitter, sitter.light, ellipse(0, -0.66, 0.34, 0.13), 0.35, 0.10)
    raised = sitter.units.of(1) * 0.5 + sitter.units.of(2) * 0.7
    lines = [[(-0.34, y + 0.01), (0.0, y - 0.025), (0.34, y + 0.01)] for y in (-0.70, -0.80)]
    depth = 0.6 * raised - 0.1 + 0.3 * sitter.face.age
    _soft_lines(sitter, sitter.shadow, lines, 0.035, depth)


def _shade_sockets(sitter: Sitter) -> None:
    eye = 0.385 * sitter.face.eye_spacing
    _soft_pair(sitter, sitter.shadow, ellipse(eye, _EYE_Y - 0.03, 0.21, 0.12), 0.50, 0.055)
    _soft_pair(sitter, sitter.shadow, ellipse(0.17, _EYE_Y - 0.05, 0.06, 0.11), 0.50, 0.045)


def _shade_cheek(sitter: Sitter, side: int) -> None:
    raised = max(sitter.units.of(6, side), 0.0)
    y = 0.17 - 0.05 * raised
    rosy = mixed(sitter.skin, (226, 84, 84), 0.5)
    _soft(
        sitter, sitter.light, ellipse(0.44 * side, y - 0.06, 0.17, 0.10), 0.45 + 0.2 * raised, 0.07
    )
    _soft(sitter, rosy, ellipse(0.47 * side, y + 0.04, 0.17, 0.12), 0.26 + 0.18 * raised, 0.09)


def _paint_side_lines(sitter: Sitter, side: int) -> None:
    """Paint the fold from nose to mouth, crow's feet, the eye's bag and the dimple."""
    of, age, shadow = sitter.units.of, sitter.face.age, sitter.shadow
    smile, wrinkle = of(12, side), of(9, side)
    corner_x, corner_y = _mouth_corner(sitter, side)
    x, y = abs(corner_x), corner_y
    eye = 0.385 * sitter.face.eye_spacing
    fold = [(0.19, 0.17 - 0.03 * wrinkle), (0.31, 0.25 - 0.02 * smile), (x + 0.085, y - 0.03)]
    bag = [(eye - 0.13, _EYE_Y + 0.12), (eye, _EYE_Y + 0.155), (eye + 0.13, _EYE_Y + 0.11)]
    feet = [
        [(0.60, _EYE_Y + 0.5 * rise), (0.69, _EYE_Y + 1.6 * rise)] for rise in (-0.05, 0.0, 0.05)
    ]
    dimple = [(x + 0.05, y - 0.07), (x + 0.08, y), (x + 0.05, y + 0.06)]
    depth = (
        0.10 + 0.25 * age + 0.5 * smile + 0.5 * wrinkle + 0.2 * of(10, side) + 0.25 * of(20, side)
    )
    for lines, colour, width, alpha in (
        ([fold], shadow, 0.05, depth),
        ([bag], shadow, 0.045, 0.12 + 0.3 * age + 0.35 * of(6, side)),
        (feet, shadow, 0.025, 0.6 * of(6, side) - 0.1 + 0.3 * age),
        ([dimple], scaled(shadow, 0.75), 0.045, 0.95 * of(14, side)),
    ):
        placed = [[(side * px, py) for px, py in line] for line in lines]
        _soft_lines(sitter, colour, placed, width, alpha)


def _shade_nose(sitter: Sitter) -> None:
    face, wide = sitter.face, sitter.face.nose_width
    tip = _nose_tip(sitter)
    light_side = 1 if np.cos(np.radians(face.light_direction)) > 0 else -1
    for side in SIDES:
        away = side != light_side
        flank = np.array(
            [(0.075, -0.24), (0.10, -0.05), (0.15 * wide, tip - 0.06), (0.07, tip - 0.10)]
        )
        depth = 0.22 + (0.34 * face.light_strength if away else 0.0)
        _soft(sitter, sitter.shadow, flank * (side, 1), depth, 0.03, lift=0.08)
    _soft(sitter, sitter.shadow, ellipse(0, tip + 0.085, 0.17 * wide, 0.035), 0.55, 0.03)
    bridge = np.array([(-0.035, -0.30), (0.035, -0.30), (0.045, tip - 0.08), (-0.045, tip - 0.08)])
    _soft(sitter, sitter.light, bridge, 0.55, 0.025, lift=0.12)
    _soft(sitter, sitter.light, ellipse(0, tip - 0.02, 0.055, 0.045), 0.6, 0.022, lift=0.18)


def _shade_chin(sitter: Sitter) -> None:
    bottom = chin(sitter)
    raised = max(sitter.units.of(17), 0.0)
    lip = _MOUTH_Y + 0.17 + 0.9 * sitter.jaw_drop - 0.02 * raised
    _soft(sitter, sitter.shadow, ellipse(0, lip, 0.16, 0.03), 0.45 + 0.25 * raised, 0.03)
    _soft(sitter, sitter.light, ellipse(0, bottom - 0.15, 0.11, 0.06), 0.30, 0.05)
    _soft_pair(
        sitter, sitter.shadow, ellipse(0.06, bottom - 0.15, 0.03, 0.03), 0.5 * raised - 0.1, 0.02
    )


def _paint_frown_lines(sitter: Sitter) -> None:
    """Paint the upright lines between the brows and the wrinkles beside the nose's root."""
    frown, wrinkle = sitter.units.of(4), sitter.units.of(9)
    upright: list[Line] = []
    creases: list[Line] = [[(-0.06, -0.29), (0.0, -0.275), (0.06, -0.29)]]
    for side in SIDES:
        upright.append([(0.055 * side, -0.50), (0.065 * side, -0.41), (0.05 * side, -0.33)])
        creases.extend(
            [(0.045 * side, y - 0.03), (0.10 * side, y), (0.145 * side, y + 0.06)]
            for y in (-0.20, -0.11)
        )
    _soft_lines(sitter, scaled(sitter.shadow, 0.8), upright, 0.032, 0.75 * frown - 0.1)
    _soft_lines(sitter, scaled(sitter.shadow, 0.88), creases, 0.03, 0.75 * wrinkle - 0.05)


def _paint_freckles(sitter: Sitter) -> None:
    if sitter.face.freckles <= 0:
        return
    rng = np.random.default_rng(sitter.face.noise_seed)
    colour = mixed(sitter.shadow, (150, 84, 50), 0.4)
    spots = rng.normal(0, 1, (46, 2)) * (0.30, 0.09) + (0, 0.08)
    sizes = rng.uniform(0.006, 0.013, len(spots))
    placed = zip(sitter.view.on(spots), sitter.px(1) * sizes, strict=True)
    dots = [ellipse(x, y, size, size) for (x, y), size in placed]
    sitter.canvas.fill(colour, *dots, alpha=0.6 * sitter.face.freckles)


def _nose_tip(sitter: Sitter) -> float:
    return 0.17 * sitter.face.nose_length - 0.025 * max(sitter.units.of(9), 0.0)


def _paint_nose(sitter: Sitter) -> None:
    wide, tip = sitter.face.nose_width, _nose_tip(sitter)
    flare = wide * (1 + 0.12 * max(sitter.units.of(9), 0.0))
    hole = [(0.035, 0.055), (0.075, 0.035), (0.105, 0.06), (0.07, 0.075)]
    wing = [(0.135, -0.05), (0.17, 0.01), (0.15, 0.065), (0.115, 0.07)]
    wings = []
    for side in SIDES:
        nostril = np.array(hole) * (side * flare, 1) + (0, tip)
        sitter.canvas.fill(sitter.line, loop(sitter.view.on(nostril, 0.06)), alpha=0.8)
        line = curve(sitter.view.on(np.array(wing) * (side * flare, 1) + (0, tip), 0.03))
        wings.append(ribbon(line, sitter.px(1) * np.array([0.008, 0.024, 0.012])))
    sitter.canvas.soft(scaled(sitter.shadow, 0.8), *wings, alpha=0.8, blur=sitter.px(0.008))


# Eyes


def _lids(sitter: Sitter, side: int) -> tuple[Points, Points]:
    """Return the upper and lower lid's edge, inner to outer corner, in face units."""
    face, of = sitter.face, sitter.units.of
    rest = 0.092 * face.eye_openness * face.eye_size
    narrowing = 0.30 * of(7, side) + 0.16 * of(6, side) + 0.30 * of(9, side) + 0.55 * of(43, side)
    upper = rest * max(1 + 0.48 * of(5, side) - narrowing, 0.25)
    closing = 0.75 * of(7, side) + 0.85 * of(6, side) + 0.6 * of(9, side)
    lower = 0.056 * face.eye_size * (1 + 0.25 * of(5, side) - closing)
    # Frowning flattens the inner half of the upper lid, grief pulls that half up.
    grief = of(1, side) * (1 - 0.8 * min(max(of(2, side), 0.0), 1.0))
    frown = of(4, side) * (1 - 0.8 * min(max(of(1, side), 0.0), 1.0))
    inner, outer = 0.78 - 0.40 * frown + 0.22 * grief, 0.74 + 0.08 * frown - 0.32 * grief
    tilt = face.eye_tilt - 0.02 * grief
    edge = 0.175 * face.eye_size
    corners = (-edge, 0.02 + 0.012 * frown), (edge, -0.012 - tilt)
    top = [
        corners[0],
        (-0.09, -inner * upper),
        (0.02, -upper),
        (0.115, -outer * upper - tilt / 2),
        corners[1],
    ]
    bottom = [
        corners[0],
        (-0.08, 0.7 * lower + 0.008),
        (0.03, lower),
        (0.12, 0.68 * lower - tilt / 2),
        corners[1],
    ]
    place = np.array([0.385 * face.eye_spacing, _EYE_Y])
    return (np.array(top) + place) * (side, 1), (np.array(bottom) + place) * (side, 1)


def _paint_eye(sitter: Sitter, side: int) -> None:
    upper, lower = (curve(sitter.view.on(lid)) for lid in _lids(sitter, side))
    opening = np.concatenate([upper, lower[::-1]])
    sitter.canvas.fill(mixed(_SCLERA, sitter.skin, 0.12), opening)
    with sitter.canvas.clipped(opening):
        _paint_iris(sitter, side)
        shade = ribbon(upper, sitter.px(0.07))
        sitter.canvas.soft((60, 44, 48), shade, alpha=0.45, blur=sitter.px(0.02))
    _paint_lids(sitter, side, upper, lower)


def _paint_iris(sitter: Sitter, side: int) -> None:
    face, canvas = sitter.face, sitter.canvas
    x = 0.385 * face.eye_spacing * side + 0.05 * face.gaze_x
    y = _EYE_Y - 0.016 + 0.025 * face.gaze_y
    centre_x, centre_y = sitter.view.on((x, y))
    radius = sitter.px(0.086 * face.eye_size)
    canvas.fill(scaled(face.iris_colour, 0.5), ellipse(centre_x, centre_y, radius, radius))
    canvas.fill(face.iris_colour, ellipse(centre_x, centre_y, 0.84 * radius, 0.84 * radius))
    glow = ellipse(centre_x, centre_y + 0.42 * radius, 0.55 * radius, 0.3 * radius)
    canvas.soft(mixed(face.iris_colour, (255, 240, 210), 0.45), glow, alpha=0.7, blur=0.15 * radius)
    canvas.fill((14, 11, 13), ellipse(centre_x, centre_y, 0.44 * radius, 0.44 * radius))
    glint = 0.2 * radius if face.light_direction > 90 else -0.2 * radius
    spark = ellipse(centre_x - 1.5 * glint, centre_y - 0.34 * radius, 0.22 * radius, 0.22 * radius)
    canvas.fill((255, 255, 255), spark, alpha=0.95)


def _paint_lids(sitter: Sitter, side: int, upper: Points, lower: Points) -> None:
    face, canvas, px = sitter.face, sitter.canvas, sitter.px
    bold = 0.8 + 0.45 * face.lashes
    lash = mixed((26, 18, 18), sitter.line, 0.2)
    canvas.fill(lash, ribbon(upper, px(bold) * np.array([0.010, 0.026, 0.032, 0.026])))
    canvas.fill(sitter.line, ribbon(lower, px(1) * np.array([0.006, 0.010, 0.014])), alpha=0.55)
    if face.lashes > 0.35:
        out = np.array([side * 0.055, -0.045]) * face.lashes
        corner = upper[-1] + sitter.view.unit * np.array([out * 0, out * 0.45, out])
        canvas.fill(lash, ribbon(curve(corner), px(1) * np.array([0.03, 0.02, 0.003])))
    crease = moved(upper, 0, -px(0.042 + 0.01 * sitter.units.of(43, side)))
    canvas.soft(
        scaled(sitter.shadow, 0.7), ribbon(crease[3:-2], px(1) * np.array([0.004, 0.018, 0.008])),
        alpha=0.75, blur=px(0.008),
    )  # fmt: skip


# Brows


def paint_brows(sitter: Sitter) -> None:
    """Paint both brows, as tapered strokes of the hair's colour."""
    thick = sitter.px(0.078 * sitter.face.brow_thickness) * np.array([0.55, 1.0, 0.95, 0.62, 0.12])
    strokes = [ribbon(curve(sitter.view.on(_brow(sitter, side))), thick) for side in SIDES]
    colour = mixed(scaled(sitter.face.hair_colour, 0.72), sitter.line, 0.35)
    sitter.canvas.soft(colour, *strokes, alpha=0.95, blur=sitter.px(0.009))


def _brow(sitter: Sitter, side: int) -> Points:
    """Return a brow's middle line, inner to outer end, in face units."""
    of, face = sitter.units.of, sitter.face
    inner, outer, frown = of(1, side), of(2, side), of(4, side)
    # The frown pulls down only what the forehead muscle does not hold up.
    lowering = frown * (1 - 0.85 * min(max(inner, 0.0), 1.0)) + 0.35 * of(9, side)
    y = -0.445 - face.brow_height
    line = [
        (0.155 - 0.045 * frown, y + 0.012 - 0.115 * inner - 0.03 * outer + 0.095 * lowering),
        (0.26 - 0.035 * frown, y - 0.030 - 0.085 * inner - 0.06 * outer + 0.080 * lowering),
        (0.40 - 0.015 * frown, y - 0.060 - 0.025 * inner - 0.10 * outer + 0.040 * lowering),
        (0.53, y - 0.035 + 0.015 * inner - 0.10 * outer + 0.010 * lowering),
        (0.62, y + 0.030 + 0.025 * inner - 0.07 * outer),
    ]
    return np.array(line) * (side, 1)


# Mouth


def _mouth_corner(sitter: Sitter, side: int) -> tuple[float, float]:
    of = sitter.units.of
    x = 0.262 * sitter.face.mouth_width + 0.065 * of(12, side) + 0.085 * of(20, side)
    x += 0.050 * of(14, side) - 0.035 * of(23) - 0.075 * of(26) * (1 - min(of(12), 1.0))
    y = _MOUTH_Y - 0.105 * of(12, side) + 0.095 * of(15, side) + 0.035 * of(20, side)
    y += -0.05 * of(14, side) + 0.07 * of(26)
    return x * side, y


def _lip_lines(sitter: Sitter) -> tuple[Points, Points]:
    """Return the lower edge of the upper lip and the upper edge of the lower lip, left to right."""
    of = sitter.units.of
    left, right = _mouth_corner(sitter, -1), _mouth_corner(sitter, 1)
    top = _MOUTH_Y + 0.012 * of(12) - 0.02 * of(17) - 0.012 * of(15)
    top -= 0.035 * of(10) + 0.012 * of(9) + 0.01 * of(26)
    part = max(0.06 * of(25) + 0.20 * of(26) + 0.05 * of(16) * max(of(25), 0.0) - 0.004, 0.0)
    bottom = top + part
    # A square mouth keeps its height towards the corners.
    square = 0.5 * max(of(16) * of(25), 0.0) + 0.35 * max(of(20), 0.0) * min(part / 0.1, 1.0)

    rounded = 0.36 - 0.9 * min(part, 0.16)

    def lip(middle: float, bow: float) -> Points:
        share = rounded * (1 - square)
        between = [(x * 0.58, middle + (y - middle) * share) for x, y in (left, right)]
        return np.array([left, between[0], (0.0, middle + bow), between[1], right])

    return lip(top, 0.008), lip(bottom, 0.0 if part else 0.008)


def _lip_outlines(sitter: Sitter, upper: Points, lower: Points) -> tuple[Points, Points]:
    """Return the upper and lower lip as closed outlines, in face units."""
    of, full = sitter.units.of, sitter.face.lip_fullness
    thin = (
        (1 - 0.55 * max(of(23), 0.0))
        * (1 - 0.18 * max(of(12), 0.0))
        * (1 - 0.12 * max(of(20), 0.0))
    )
    above = 0.058 * full * thin * (1 - 0.2 * max(of(10), 0.0))
    below = 0.080 * full * thin * (1 + 0.2 * max(of(16), 0.0) + 0.15 * max(of(17), 0.0))
    (left, left_mid, middle, right_mid, right) = upper
    bow = [
        moved(right_mid, 0, -0.72 * above),
        moved(middle, 0.07, -1.08 * above),
        moved(middle, 0, -0.80 * above),
        moved(middle, -0.07, -1.08 * above),
        moved(left_mid, 0, -0.72 * above),
    ]
    (_, under_left, under, under_right, _) = lower
    belly = [
        moved(under_right, 0, 0.74 * below),
        moved(under, 0, below),
        moved(under_left, 0, 0.74 * below),
    ]
    top = np.concatenate([curve(upper), curve([right, *bow, left])])
    return top, np.concatenate([curve(lower), curve([right, *belly, left])])


def paint_mouth(sitter: Sitter) -> None:
    """Paint the lips, and teeth and tongue between them where they part."""
    canvas, view = sitter.canvas, sitter.view
    upper, lower = _lip_lines(sitter)
    upper_lip, lower_lip = _lip_outlines(sitter, upper, lower)
    inside = np.concatenate([curve(upper), curve(lower)[::-1]])
    if lower[2, 1] - upper[2, 1] > 0.012:
        canvas.fill(_MOUTH_INSIDE, view.on(inside))
        with canvas.clipped(view.on(inside)):
            _paint_teeth(sitter, upper, lower)
    lip = _lip_colour(sitter)
    canvas.fill(scaled(lip, 0.86), view.on(upper_lip))
    canvas.fill(lip, view.on(lower_lip))
    _shade_lips(sitter, upper, lower, lip)


def _paint_teeth(sitter: Sitter, upper: Points, lower: Points) -> None:
    of, canvas, view = sitter.units.of, sitter.canvas, sitter.view
    part = float(lower[2, 1] - upper[2, 1])
    if part > 0.13:
        tongue = ellipse(0, float(lower[2, 1]) + 0.01, 0.15, 0.35 * part)
        canvas.soft(_TONGUE, view.on(tongue), alpha=0.9, blur=sitter.px(0.012))
    hang = min(0.035 + 0.045 * max(of(12), of(10), of(20), 0.0), 0.8 * part + 0.01)
    canvas.fill(_TEETH, view.on(np.concatenate([curve(upper), moved(curve(upper)[::-1], 0, hang)])))
    bared = max(of(16), 0.7 * of(20), 0.0)
    if bared > 0.25:
        rise = min(0.05 * bared, 0.45 * part)
        row = np.concatenate([curve(lower), moved(curve(lower)[::-1], 0, -rise)])
        canvas.fill(scaled(_TEETH, 0.93), view.on(row))
    gap = ribbon(view.on(curve(upper)), sitter.px(0.03))
    canvas.soft(_MOUTH_INSIDE, gap, alpha=0.45, blur=sitter.px(0.012))


def _lip_colour(sitter: Sitter) -> Colour:
    natural = mixed(sitter.skin, (176, 66, 72), 0.42)
    return mixed(scaled(natural, 0.95), sitter.face.lipstick_colour, 0.75 * sitter.face.lipstick)


def _shade_lips(sitter: Sitter, upper: Points, lower: Points, lip: Colour) -> None:
    canvas, px = sitter.canvas, sitter.px
    seam = scaled(lip, (0.46, 0.34, 0.36))
    widths = px(1) * np.array([0.026, 0.018, 0.016, 0.018, 0.026])
    canvas.fill(seam, ribbon(sitter.view.on(curve(upper)), widths), alpha=0.9)
    shine_y = float(lower[2, 1]) + 0.040 * sitter.face.lip_fullness * (
        1 - 0.5 * max(sitter.units.of(23), 0)
    )
    shine = sitter.view.on(ellipse(0, shine_y, 0.085, 0.012))
    canvas.soft(mixed(lip, (255, 250, 245), 0.6), shine, alpha=0.55, blur=px(0.014))
    corners = sitter.view.on([_mouth_corner(sitter, side) for side in SIDES])
    spots = [ellipse(x, y, px(0.03), px(0.025)) for x, y in corners]
    canvas.soft(sitter.shadow, *spots, alpha=0.6, blur=px(0.015))
