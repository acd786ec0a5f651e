"""What the pages that mien writes have in common: colours, letters, and that all is escaped."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from mien.annotate import COLOURS, PRINT_COLOURS
from mien.version import __version__

__all__ = ["render"]


def render(template: str, filters: Mapping[str, Callable[..., Any]], **values: Any) -> str:
    """Return a page as text: everything is escaped, and a missing value is a mistake.

    Args:
        template: of the package, ``judging/evaluation.html.j2``; it may include ``page.css.j2``.
        filters: of the template, by name.
        values: likewise; besides these it has the package's ``version``.
    """
    environment = Environment(
        loader=FunctionLoader(lambda name: (files("mien") / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    page = environment.get_template(template)
    return page.render(values, palettes=(PRINT_COLOURS, COLOURS), version=__version__)
