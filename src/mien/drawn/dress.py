"""Paints what people wear and grow: hair, beard, glasses, neck and clothes."""

from __future__ import annotations

import numpy as np

from mien.drawn.canvas import Points, curve, ellipse, loop, moved, ribbon
from mien.drawn.face import SIDES, cheek, chin, head_outline
from mien.drawn.parameters import Colour, HairStyle
from mien.drawn.sitter import Sitter, mixed, scaled

# Height of the hairline (face units) from the middle of the forehead to the temple, a style.
_HAIRLINES: dict[HairStyle, tuple[float, float, float]] = {
    "buzz": (-0.84, -0.80, -0.50),
    "short": (-0.80, -0.74, -0.42),
    "side part": (-0.82, -0.74, -0.42),
    "fringe": (-0.52, -0.54, -0.36),
    "curly": (-0.78, -0.70, -0.36),
    "bob": (-0.90, -0.66, -0.30),
    "long": (-0.92, -0.68, -0.30),
    "bun": (-0.86, -0.76, -0.46),
}
_CROWN_HEIGHT: dict[HairStyle, float] = {"buzz": 0.0, "bun": 0.05, "fringe": 0.12, "curly": 0.10}


def paint_body(sitter: Sitter) -> None:
    """Paint neck, shoulders and clothes."""
    width = 0.43 + 0.3 * (sitter.face.jaw_width - 1)
    half = np.array(
        [(width, 0.2), (width - 0.01, 0.95), (width + 0.06, 1.25), (0.7, 1.45), (0.9, 1.9)]
    )
    outline = sitter.body.flat(np.concatenate([curve(half * (-1, 1)), curve(half)[::-1]]))
    sitter.canvas.fill(mixed(sitter.skin, sitter.shadow, 0.2), outline)
    with sitter.canvas.clipped(outline):
        cast = sitter.body.flat(ellipse(0, chin(sitter) - 0.16, 0.62, 0.42))
        sitter.canvas.soft(scaled(sitter.shadow, 0.86), cast, alpha=0.75, blur=sitter.px(0.12))
    top = sitter.body.flat((0.0, 1.28))
    if top[1] < sitter.canvas.image.shape[0]:
        _paint_clothes(sitter)


def _paint_clothes(sitter: Sitter) -> None:
    canvas, body, cloth = sitter.canvas, sitter.body, sitter.face.clothes_colour
    right = np.array(
        [
            (0.0, 1.56),
            (0.32, 1.47),
            (0.54, 1.28),
            (0.95, 1.44),
            (1.45, 1.62),
            (1.74, 2.0),
            (1.85, 3.4),
            (1.85, 9.0),
        ]
    )
    shoulders = body.flat(np.concatenate([curve(right * (-1, 1))[::-1], curve(right)]))
    canvas.fill(cloth, shoulders)
    with canvas.clipped(shoulders):
        arms = [
            curve([(1.16 * s, 1.95), (1.34 * s, 2.5), (1.36 * s, 3.4), (1.36 * s, 9.0)])
            for s in SIDES
        ]
        strokes = [
            ribbon(body.flat(arm), sitter.px(1) * np.array([0.02, 0.1, 0.1])) for arm in arms
        ]
        canvas.soft(scaled(cloth, 0.62), *strokes, alpha=0.7, blur=sitter.px(0.05))
        lights = [body.flat(ellipse(1.0 * s, 1.66, 0.35, 0.10)) for s in SIDES]
        canvas.soft(mixed(cloth, (255, 250, 240), 0.35), *lights, alpha=0.5, blur=sitter.px(0.12))
    collar = np.concatenate([curve(right[:3] * (-1, 1))[::-1], curve(right[:3])])
    canvas.fill(scaled(cloth, 0.82), ribbon(body.flat(collar), sitter.px(0.06)))


# Hair


def paint_hair_behind(sitter: Sitter) -> None:
    """Paint the hair (or scarf) that hangs behind the head."""
    style, width = sitter.face.hair_style, cheek(sitter)
    volume = 0.10 * sitter.face.hair_volume
    if style == "headscarf":
        _paint_scarf_behind(sitter)
        return
    if style not in ("long", "bob"):
        return
    end = 1.75 if style == "long" else 0.62 + 1.5 * volume
    half = [(0.5 * width, -1.40), (width + 0.10, -0.95), (width + 0.20 + volume, -0.1),
            (width + 0.22 + volume, 0.5 * end), (width + 0.10, end),
            (0.35, end + 0.03)]  # fmt: skip
    right = np.array(half)
    outline = loop(sitter.view.flat(_mirrored(right)))
    sitter.canvas.fill(scaled(sitter.face.hair_colour, 0.72), outline)


def paint_hair(sitter: Sitter) -> None:
    """Paint the hair (or scarf) that lies over the head."""
    style = sitter.face.hair_style
    if style == "bald":
        _paint_scalp_shine(sitter)
    elif style == "headscarf":
        _paint_scarf(sitter)
    else:
        _paint_cap(sitter)


def _paint_scalp_shine(sitter: Sitter) -> None:
    shine = sitter.view.on(ellipse(0.15, -1.12, 0.28, 0.08))
    sitter.canvas.soft(sitter.light, shine, alpha=0.6, blur=sitter.px(0.07))


def _crown(sitter: Sitter) -> Points:
    """Return the outer edge of the hair over the skull, left to right."""
    style, width = sitter.face.hair_style, cheek(sitter)
    height = _CROWN_HEIGHT.get(style, 0.10) * (0.6 + 0.9 * sitter.face.hair_volume)
    out = 0.012 if style == "buzz" else 0.03 + 0.3 * height
    low = 0.12 if style in ("long", "bob") else -0.14
    right = np.array(
        [(0.44 * width, -1.28 - height), (0.83 * width + 0.5 * out, -1.04 - 0.7 * height),
         (width + out, -0.62), (width + 0.6 * out, -0.3), (width + 0.01, low)]
    )  # fmt: skip
    lean = 0.5 * height * sitter.face.hair_side if style == "side part" else 0.0
    top = (-3 * lean, -1.355 - height)
    crown = curve(sitter.view.flat(np.concatenate([right[::-1] * (-1, 1), [top], right])))
    return _tufted(crown, sitter) if style == "short" else crown


def _tufted(crown: Points, sitter: Sitter) -> Points:
    """Return the crown with locks that stand a little off it."""
    along = np.linspace(0, 1, len(crown))
    wave = np.abs(np.sin(9 * np.pi * along + 0.6 * np.sin(17 * along))) * np.sin(np.pi * along) ** 2
    outward = crown - crown.mean(0)
    lift = 0.045 * (0.4 + sitter.face.hair_volume) * wave[:, None] * outward
    return np.asarray(crown + lift)


def _hairline(sitter: Sitter) -> Points:
    """Return the lower edge of the hair over the forehead, right to left."""
    style, side = sitter.face.hair_style, sitter.face.hair_side
    middle, front, temple = _HAIRLINES[style]
    edge = cheek(sitter) - 0.02
    low = 0.12 if style in ("long", "bob") else -0.14
    right = [
        (edge + 0.03, low),
        (edge - 0.05, temple),
        (0.54, front),
        (0.26, 0.5 * (middle + front)),
    ]
    left = [(-x, y) for x, y in reversed(right)]
    points = np.array([*right, (0.0, middle), *left])
    if style == "side part":
        # Hair lies over the forehead away from the parting and shows skin at it.
        points[2:7, 1] += -0.10 * side * points[2:7, 0] / 0.5
    if style == "fringe":
        points[2:7, 1] += 0.03 * np.array([1, -1, 1, -1, 1])
    # Towards the ears the hairline follows the head's outline, not the front of the face.
    edge_depth = np.array([0.0, 0.2])
    placed = sitter.view.on(points)
    placed[:2] = sitter.view.flat(points[:2], edge_depth)
    placed[-2:] = sitter.view.flat(points[-2:], edge_depth[::-1])
    return curve(placed)


def _paint_cap(sitter: Sitter) -> None:
    face, canvas = sitter.face, sitter.canvas
    if face.hair_style == "bun":
        _paint_knot(sitter)
    crown, hairline = _crown(sitter), _hairline(sitter)
    outline = np.concatenate([crown, hairline])
    with canvas.clipped(head_outline(sitter)):
        cast = outline + 0.05 * sitter.view.turn[1]
        canvas.soft(sitter.shadow, cast, alpha=0.6, blur=sitter.px(0.035))
    if face.hair_style == "buzz":
        # Crisp against the background, fading into the skin.
        with canvas.clipped(np.concatenate([crown, sitter.view.flat([(1.2, 0.5), (-1.2, 0.5)])])):
            shade = mixed(face.hair_colour, sitter.skin, 0.2)
            canvas.soft(shade, _widened(crown, hairline), alpha=0.86, blur=sitter.px(0.03))
        return
    canvas.fill(face.hair_colour, outline)
    if face.hair_style == "curly":
        _paint_curls(sitter)
        return
    with canvas.clipped(outline):
        _paint_strands(sitter)
    if face.hair_style in ("long", "bob"):
        _paint_locks(sitter)


def _widened(crown: Points, hairline: Points) -> Points:
    """Return the hair's outline with its outer edge pushed out, its inner edge kept."""
    middle = crown.mean(0)
    return np.concatenate([middle + 1.15 * (crown - middle), hairline])


def _paint_knot(sitter: Sitter) -> None:
    colour, canvas = sitter.face.hair_colour, sitter.canvas
    canvas.fill(scaled(colour, 0.86), sitter.view.flat(ellipse(0, -1.60, 0.36, 0.29), -0.1))
    for tone, shrink in ((1.2, 0.75), (0.7, 0.5)):
        coil = ellipse(0.03, -1.62, 0.36 * shrink, 0.29 * shrink)[14:30]
        stroke = ribbon(sitter.view.flat(coil, -0.1), sitter.px(1) * np.array([0.01, 0.04, 0.01]))
        canvas.soft(scaled(colour, tone), stroke, alpha=0.6, blur=sitter.px(0.012))


def _paint_strands(sitter: Sitter) -> None:
    """Paint strands from the parting down, and the sheen across them."""
    face, canvas, view = sitter.face, sitter.canvas, sitter.view
    root = 0.30 * face.hair_side if face.hair_style in ("side part", "short") else 0.0
    widths = sitter.px(1) * np.array([0.02, 0.05, 0.01])
    strands = []
    for x in np.linspace(-0.9, 0.9, 11):
        bend = root + 0.75 * (x - root)
        line = [(root + 0.25 * (x - root), -1.5), (bend, -1.1), (x, -0.62), (1.02 * x, -0.2)]
        strands.append(ribbon(curve(view.flat(line, 0.2)), widths))
    blur = sitter.px(0.012)
    canvas.soft(scaled(face.hair_colour, 0.72), *strands[::2], alpha=0.5, blur=blur)
    canvas.soft(scaled(face.hair_colour, 1.25), *strands[1::2], alpha=0.5, blur=blur)
    arc = [(-0.6, -0.98), (-0.3, -1.12), (0.0, -1.16), (0.3, -1.12), (0.6, -0.98)]
    sheen = ribbon(
        curve(view.flat(arc, 0.3)), sitter.px(1) * np.array([0.02, 0.12, 0.09, 0.12, 0.02])
    )
    glow = mixed(face.hair_colour, (255, 244, 226), 0.30)
    canvas.soft(glow, sheen, alpha=0.5, blur=sitter.px(0.05))


def _paint_locks(sitter: Sitter) -> None:
    """Paint the hair that falls over the ears, either side of the face."""
    face, width = sitter.face, cheek(sitter)
    end = 1.7 if face.hair_style == "long" else 0.60 + 0.15 * face.hair_volume
    out = width + 0.16 + 0.10 * face.hair_volume
    half = np.array(
        [(0.62 * width, -0.95), (out - 0.06, -0.55), (out, 0.1), (out, 0.62 * end),
         (out - 0.06, end), (width - 0.02, end + 0.03), (width - 0.10, 0.6 * end),
         (width - 0.06, 0.1), (0.86 * width, -0.48)]
    )  # fmt: skip
    for side in SIDES:
        outline = loop(sitter.view.flat(half * (side, 1), 0.05))
        sitter.canvas.fill(face.hair_colour, outline)
        with sitter.canvas.clipped(outline):
            for inset, tone in ((0.01, 1.25), (0.09, 0.75), (0.15, 1.15)):
                x = width + inset
                line = np.array([(x - 0.1, -0.6), (x, 0.1), (x - 0.05, end)]) * (side, 1)
                stroke = ribbon(
                    curve(sitter.view.flat(line, 0.05)), sitter.px(1) * np.array([0.01, 0.05, 0.01])
                )
                sitter.canvas.soft(
                    scaled(face.hair_colour, tone), stroke, alpha=0.5, blur=sitter.px(0.015)
                )


def _paint_curls(sitter: Sitter) -> None:
    face, canvas = sitter.face, sitter.canvas
    rng = np.random.default_rng(face.noise_seed + 1)
    crown = _crown(sitter)
    hairline = _along(_hairline(sitter)[::-1], len(crown))
    size = sitter.px(0.14 + 0.09 * face.hair_volume)
    for depth, share in enumerate((0.0, 0.38, 0.72)):
        for x, y in ((1 - share) * crown + share * hairline)[::5]:
            radius = size * rng.uniform(0.78, 1.1) * (1 - 0.12 * depth)
            tone = scaled(face.hair_colour, rng.uniform(0.82, 1.12))
            canvas.fill(tone, ellipse(x, y, radius, radius))
            arc = ellipse(x, y, 0.6 * radius, 0.6 * radius)[18:28]
            canvas.fill(mixed(tone, (255, 240, 220), 0.15), ribbon(arc, 0.14 * radius))


def _along(line: Points, count: int) -> Points:
    """Return `count` points evenly spaced by index along a line."""
    place = np.linspace(0, len(line) - 1, count)
    return np.stack([np.interp(place, np.arange(len(line)), line[:, axis]) for axis in (0, 1)], 1)


def _paint_scarf_behind(sitter: Sitter) -> None:
    width = cheek(sitter)
    right = np.array(
        [(0.46 * width, -1.44), (width + 0.08, -1.0), (width + 0.16, 0.0), (width + 0.1, 0.9),
         (1.05, 1.5), (0.9, 1.95)]
    )  # fmt: skip
    outline = loop(sitter.view.flat(_mirrored(right)))
    sitter.canvas.fill(scaled(sitter.face.scarf_colour, 0.85), outline)


def _mirrored(right: Points) -> Points:
    """Return a closed outline from its right half, given top to bottom."""
    return np.concatenate([right, right[::-1] * (-1, 1)])


def _paint_scarf(sitter: Sitter) -> None:
    """Paint a headscarf: a cloth with an opening for the face, and its folds."""
    canvas, bottom = sitter.canvas, chin(sitter)
    outer, inner = _scarf_edges(sitter, bottom)
    with canvas.clipped(inner):
        edge = ribbon(np.concatenate([inner, inner[:1]]), sitter.px(0.09))
        canvas.soft(sitter.shadow, edge, alpha=0.6, blur=sitter.px(0.03))
    canvas.fill(sitter.face.scarf_colour, outer, inner)
    with canvas.clipped(outer, inner):
        _paint_folds(sitter, bottom)


def _scarf_edges(sitter: Sitter, bottom: float) -> tuple[Points, Points]:
    """Return the scarf's outline and that of its opening, in pixels."""
    width, stretch = cheek(sitter), sitter.face.head_width
    outer = np.array(
        [(0.46 * width, -1.44), (width + 0.08, -1.0), (width + 0.17, 0.0), (width + 0.02, 0.8),
         (0.72, 1.3), (0.4, 1.7)]
    )  # fmt: skip
    inner = np.array(
        [(0.0, -0.90), (0.42, -0.80), (0.70 * stretch, -0.42), (0.735 * stretch, 0.10),
         (0.60, 0.58 + sitter.jaw_drop / 2), (0.30, bottom - 0.09), (0.0, bottom - 0.01)]
    )  # fmt: skip
    opening = np.concatenate([inner, inner[-2:0:-1] * (-1, 1)])
    return loop(sitter.view.flat(_mirrored(outer))), loop(sitter.view.on(opening))


def _paint_folds(sitter: Sitter, bottom: float) -> None:
    cloth, width = sitter.face.scarf_colour, cheek(sitter)
    folds = [(side * lean, tone) for side in SIDES for lean, tone in ((0.03, 0.78), (0.10, 1.15))]
    for lean, tone in folds:
        side = 1 if lean > 0 else -1
        x = (width + abs(lean)) * side
        line = [
            (0.5 * x, -1.25),
            (x, -0.5),
            (0.98 * x, 0.3),
            (0.55 * x, bottom + 0.12),
            (0.0, bottom + 0.3),
        ]
        stroke = ribbon(curve(sitter.view.flat(line, 0.1)), sitter.px(0.07))
        sitter.canvas.soft(scaled(cloth, tone), stroke, alpha=0.6, blur=sitter.px(0.025))


# Beard


def paint_beard(sitter: Sitter) -> None:
    """Paint beard and moustache; they move with the jaw and the upper lip."""
    beard = sitter.face.beard
    colour = mixed(scaled(sitter.face.hair_colour, 0.9), sitter.skin, 0.1)
    if beard in ("stubble", "full"):
        # A full beard stands off the skin a little; stubble does not.
        alpha, stand = (0.92, 1.03) if beard == "full" else (0.28, 1.0)
        skin = head_outline(sitter)
        with sitter.canvas.clipped(skin.mean(0) + stand * (skin - skin.mean(0))):
            outline = _full_beard(sitter)
            sitter.canvas.soft(colour, outline, alpha=alpha, blur=sitter.px(0.03))
            if beard == "full":
                _paint_whiskers(sitter, colour)
    if beard == "goatee":
        patch = np.array([(-0.12, 0.70), (0.12, 0.70), (0.17, 0.84), (0.0, 0.98), (-0.17, 0.84)])
        outline = sitter.view.on(moved(patch, 0, sitter.jaw_drop))
        sitter.canvas.soft(colour, loop(outline), alpha=0.9, blur=sitter.px(0.02))
    if beard in ("full", "goatee", "moustache"):
        sitter.canvas.soft(colour, _moustache(sitter), alpha=0.94, blur=sitter.px(0.014))


def _paint_whiskers(sitter: Sitter, colour: Colour) -> None:
    """Paint strands down the beard, so that it does not look cut from felt."""
    bottom = chin(sitter)
    widths = sitter.px(1) * np.array([0.006, 0.022, 0.006])
    strands = []
    for x in np.linspace(-0.66, 0.66, 24):
        low = bottom - 0.04 - 0.75 * x * x
        line = [(1.03 * x, low - 0.26), (x, low - 0.12), (0.93 * x, low)]
        strands.append(ribbon(curve(sitter.view.on(line)), widths))
    blur = sitter.px(0.012)
    sitter.canvas.soft(scaled(colour, 0.68), *strands[::2], alpha=0.45, blur=blur)
    sitter.canvas.soft(scaled(colour, 1.25), *strands[1::2], alpha=0.35, blur=blur)


def _full_beard(sitter: Sitter) -> Points:
    """Return the beard's outline, running in from the nose and around the mouth."""
    width, drop, bottom = cheek(sitter), sitter.jaw_drop, chin(sitter)
    jaw = 0.60 * sitter.face.jaw_width
    half = np.array(
        [(1.0 * width, -0.02), (0.99 * width, 0.28), (jaw + 0.04, 0.66 + 0.6 * drop),
         (0.36, bottom - 0.03), (0.0, bottom + 0.06)]
    )  # fmt: skip
    line = np.array(
        [(0.0, 0.36), (0.22, 0.34), (0.48, 0.34), (0.82 * width, 0.18), (0.955 * width, -0.04)]
    )
    rim, skin = half[::-1], line[::-1]
    right = np.concatenate([sitter.view.flat(rim, 0.25), sitter.view.on(skin)])
    left = np.concatenate([sitter.view.flat(rim * (-1, 1), 0.25), sitter.view.on(skin * (-1, 1))])
    mouth = sitter.view.on(ellipse(0, 0.56 + 0.5 * drop, 0.2, 0.07 + 0.6 * drop))
    # The circle starts at its right; turned a quarter it starts at the top, below the nose.
    return np.concatenate([right, np.roll(mouth, -24, axis=0), left[::-1]])


def _moustache(sitter: Sitter) -> Points:
    of = sitter.units.of
    lift = 0.035 * max(of(10), 0.0) + 0.02 * max(of(9), 0.0)
    ends = [(0.30 * side, 0.49 - 0.08 * of(12, side) + 0.05 * of(15, side)) for side in SIDES]
    top = [ends[0], (-0.15, 0.365 - lift), (0, 0.35 - lift), (0.15, 0.365 - lift), ends[1]]
    under = [ends[1], (0.14, 0.445 - lift), (0, 0.43 - lift), (-0.14, 0.445 - lift), ends[0]]
    return sitter.view.on(np.concatenate([curve(top), curve(under)]))


# Glasses


def paint_glasses(sitter: Sitter) -> None:
    """Paint glasses, clear or dark."""
    if sitter.face.glasses == "none":
        return
    dark = sitter.face.glasses == "sunglasses"
    frame = (30.0, 28.0, 30.0) if dark else sitter.face.glasses_colour
    for side in SIDES:
        lens = _lens(sitter, side)
        sitter.canvas.fill(
            (26, 26, 32) if dark else (236, 244, 250), lens, alpha=0.9 if dark else 0.10
        )
        ring = ribbon(np.concatenate([lens, lens[:2]]), sitter.px(0.034))
        sitter.canvas.fill(frame, ring)
        temple = [(0.63 * side, -0.24), (0.80 * side, -0.22)]
        sitter.canvas.fill(frame, ribbon(sitter.view.on(temple, 0.05), sitter.px(0.03)))
        _paint_glare(sitter, side, lens)
    bridge = curve(sitter.view.on([(-0.14, -0.22), (0, -0.26), (0.14, -0.22)], 0.12))
    sitter.canvas.fill(frame, ribbon(bridge, sitter.px(0.032)))


def _lens(sitter: Sitter, side: int) -> Points:
    # A superellipse runs from a rounded square to a circle.
    power = 0.55 + 0.45 * sitter.face.glasses_roundness
    angle = np.arange(40) * (2 * np.pi / 40)
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
    y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
    height = 0.17 + 0.06 * sitter.face.glasses_roundness
    middle = 0.39 * sitter.face.eye_spacing * side
    return sitter.view.on(np.stack([middle + 0.245 * x, -0.18 + height * y], 1), 0.10)


def _paint_glare(sitter: Sitter, side: int, lens: Points) -> None:
    x = 0.39 * side
    streak = np.array([(x - 0.10, -0.40), (x - 0.02, -0.40), (x - 0.14, 0.04), (x - 0.22, 0.04)])
    with sitter.canvas.clipped(lens):
        sitter.canvas.fill((255, 255, 255), sitter.view.on(streak, 0.10), alpha=0.13)
