"""A comparison of models as one HTML file that a stranger can read.

Everything lies in the file, it asks no one for anything and runs no script. Names are taken for
hostile: the template escapes them. Computes nothing.
"""

from collections.abc import Mapping
from typing import Any

from mien.pages import render

__all__ = ["render_comparison"]


def render_comparison(found: Mapping[str, Any]) -> str:
    """Return the page as text.

    Args:
        found: as `mien.judging.compare.compare` returns it.
    """
    first, *others = found["models"]
    tests = [entry[found["tested"]] for entry in others]
    ends = [0.0, *(end for test in tests for end in test["interval"])]
    start = min(ends)
    # Models that all answer alike have no span.
    span = max(ends) - start or 1.0
    return render(
        "judging/comparison.html.j2",
        {
            "points": lambda value: f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}"),
            "place": lambda value: f"{100 * (value - start) / span:.2f}%",
        },
        found=found,
        first=first,
        several=found["tested"] == "against_first_shared",
        by=tests[0]["by"],
        others=list(zip(others, tests, strict=True)),
        judged=[entry for entry in found["models"] if "environments" in entry],
    )
