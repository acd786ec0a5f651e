"""Conditions on the numbers that a source gives its images, ``relFCs<0.9``."""

import operator
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from mien.data.dataset import Dataset
from mien.errors import UsageError

__all__ = ["Condition"]

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)


class Condition(NamedTuple):
    """One condition: a column, a comparison and a bound."""

    text: str
    name: str
    holds: Callable[[float, float], bool]
    bound: float

    def __call__(self, value: float) -> bool:
        """Say whether a value meets it."""
        return self.holds(value, self.bound)

    def check(self, dataset: Dataset) -> None:
        """Check that it is about a number that a dataset's source gave.

        Raises:
            UsageError: it is not.
        """
        if self.name not in dataset.values:
            known = ", ".join(dataset.values) or "none"
            raise UsageError(f"{self.text}: the dataset's own numbers are {known}")

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read a condition.

        Raises:
            UsageError: it is none.
        """
        match = re.fullmatch(r"\s*(.+?)\s*(<=|>=|<|>)\s*(-?[\d.]+(?:e-?\d+)?)\s*", text)
        try:
            if match:
                return cls(text.strip(), match[1], _COMPARISONS[match[2]], float(match[3]))
        except ValueError:
            pass
        raise UsageError(f"condition {text!r}: expected COLUMN<NUMBER, or <=, >, >=")
