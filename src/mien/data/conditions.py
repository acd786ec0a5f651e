"""Conditions on the numbers that a source gives its images, ``relFCs<0.9``, and on their parts."""

import operator
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from mien.data.dataset import PART, Dataset
from mien.errors import UsageError

__all__ = ["Condition"]


def _is_of(part: str, name: str) -> bool:
    """Say whether a part bears a name, or is one of those that the so named was joined of."""
    return f"{part}/".startswith(f"{name}/")


_OF_PARTS: Mapping[str, Callable[[str, str], bool]] = MappingProxyType(
    {"=": _is_of, "!=": lambda part, name: not _is_of(part, name)}
)
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)


class Condition(NamedTuple):
    """One condition: a column, a comparison and a bound, or of parts a name."""

    text: str
    name: str
    holds: Callable[[Any, Any], bool]
    bound: float | str

    def __call__(self, value: float | str) -> bool:
        """Say whether a value meets it."""
        return self.holds(value, self.bound)

    def check(self, dataset: Dataset) -> None:
        """Check that it is about a number that a dataset's source gave, or one of its parts.

        Raises:
            UsageError: it is not.
        """
        if isinstance(self.bound, str):
            if self.bound not in dataset.parts:
                known = ", ".join(dataset.parts) or "none, it was not joined"
                raise UsageError(f"{self.text}: the dataset's parts are {known}")
        elif self.name not in dataset.values:
            known = ", ".join(dataset.values) or "none"
            raise UsageError(f"{self.text}: the dataset's own numbers are {known}")

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read a condition.

        Raises:
            UsageError: it is none.
        """
        if of_part := re.fullmatch(rf"\s*{PART.name}\s*(!?=)\s*(.+?)\s*", text):
            return cls(text.strip(), PART.name, _OF_PARTS[of_part[1]], of_part[2])
        match = re.fullmatch(r"\s*(.+?)\s*(<=|>=|<|>)\s*(-?[\d.]+(?:e-?\d+)?)\s*", text)
        try:
            if match:
                return cls(text.strip(), match[1], _COMPARISONS[match[2]], float(match[3]))
        except ValueError:
            pass
        raise UsageError(
            f"condition {text!r}: expected COLUMN<NUMBER, or <=, >, >=, or {PART.name}=NAME, or !="
        )
