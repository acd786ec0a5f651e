"""What the pages that mien writes have in common: colours, letters, and that all is escaped."""

import base64
import io
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from mien.annotate import COLOURS, PRINT_COLOURS
from mien.version import __version__

__all__ = ["data_uri", "percent", "render", "uri_of"]


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share, 0..1, as pages write it; what could not be measured is a hyphen."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def data_uri(pixels: NDArray[np.uint8], kind: str = "JPEG", *, longest: int | None = None) -> str:
    """Return a picture as an address that holds it, for a page that needs no other file.

    Args:
        pixels: RGB (H, W, 3) or grey (H, W) or (H, W, 1), uint8.
        kind: ``JPEG``, or ``PNG`` where each pixel counts.
        longest: a larger picture is made smaller, to so many pixels on its longer side.
    """
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
    if longest:
        image.thumbnail((longest, longest))
    held = io.BytesIO()
    image.save(held, kind, quality=85, optimize=True)
    return uri_of(held.getvalue(), kind)


def uri_of(content: bytes, kind: str) -> str:
    """Return the same of a picture file's bytes."""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content).decode('ascii')}"


def render(template: str, filters: Mapping[str, Callable[..., Any]], **values: Any) -> str:
    """Return a page as text: everything is escaped, and a missing value is a mistake.

    Args:
        template: of the package, ``judging/evaluation.html.j2``; it may include ``page.css.j2``.
        filters: of the template, by name, besides `percent`.
        values: likewise; besides these it has the package's ``version``.
    """
    environment = Environment(
        loader=FunctionLoader(lambda name: (files("mien") / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({"percent": percent, **filters})
    page = environment.get_template(template)
    return page.render(values, palettes=(PRINT_COLOURS, COLOURS), version=__version__)
