"""A figure by matplotlib as a picture file, whatever the names in it hold."""

import warnings
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text

from mien.atomic import replacing

__all__ = ["save_figure"]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file; what is there stays until all is written.

    Raises:
        OSError: it cannot be written.
    """
    # A dollar in the name of a folder or a model begins no formula.
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with warnings.catch_warnings(), replacing(path) as partial:
        # Letters that its font lacks are boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(partial, dpi=130, format="png")
