"""Conditions on the numbers and words that a source gives its images, and on their parts.

``relFCs<0.9``, ``gender=female``, ``part!=mine``.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from mien.data.dataset import PART, Dataset
from mien.errors import UsageError

__all__ = ["Condition"]


def _is_of(part: str, name: str) -> bool:
    """Say whether a part bears a name, or is one of those that the so named was joined of."""
    return f"{part}/".startswith(f"{name}/")


def _is(value: float | str, word: str) -> bool:
    return value == word if isinstance(value, str) else value == float(word)


_OF_PARTS: Mapping[str, Callable[[str, str], bool]] = MappingProxyType(
    {"=": _is_of, "!=": lambda part, name: not _is_of(part, name)}
)
_OF_WORDS: Mapping[str, Callable[[float | str, str], bool]] = MappingProxyType(
    {"=": _is, "!=": lambda value, word: not _is(value, word)}
)
_OF_NUMBERS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)
_TOLD: Final = 10


class Condition(NamedTuple):
    """One condition: a column, a comparison, and a bound or a word."""

    text: str
    name: str
    holds: Callable[[Any, Any], bool]
    bound: float | str

    def __call__(self, value: float | str) -> bool:
        """Say whether a value meets it."""
        return self.holds(value, self.bound)

    def check(self, dataset: Dataset) -> None:
        """Check that it is about a number or word of a dataset's source, or one of its parts.

        Raises:
            UsageError: it is not.
        """
        if isinstance(self.bound, float):
            self._expect(self.name, dataset.values, "the dataset's own numbers")
        elif self.name == PART.name and self.name not in dataset.words:
            self._expect(
                self.bound, dataset.parts, "the dataset's parts", "none, it was not joined"
            )
        elif not self._is_about_a_number_of(dataset):
            own = (*dataset.words, *dataset.values)
            self._expect(self.name, own, "the dataset's own words and numbers")
            used = {word for word in dataset.column(self.name) if word is not None}
            if self.holds is _OF_WORDS["="]:  # what is not there, all the others are not
                self._expect(self.bound, sorted(map(str, used)), f"the values of {self.name}")

    def _is_about_a_number_of(self, dataset: Dataset) -> bool:
        try:
            return self.name in dataset.values and math.isfinite(float(self.bound))
        except ValueError:
            return False

    def _expect(self, named: str, known: Sequence[str], what: str, none: str = "none") -> None:
        if named not in known:
            some = ", ".join(known[:_TOLD]) + (", ..." if len(known) > _TOLD else "")
            raise UsageError(f"{self.text}: {what} are {some or none}")

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read a condition.

        Raises:
            UsageError: it is none.
        """
        match = re.fullmatch(r"\s*([^<>=!]+?)\s*(<=|>=|<|>)\s*(-?[\d.]+(?:e-?\d+)?)\s*", text)
        try:
            if match:
                return cls(text.strip(), match[1], _OF_NUMBERS[match[2]], float(match[3]))
        except ValueError:
            pass
        if match := re.fullmatch(r"\s*([^<>=!]+?)\s*(!?=)\s*(.+?)\s*", text):
            holds = _OF_PARTS if match[1] == PART.name else _OF_WORDS
            return cls(text.strip(), match[1], holds[match[2]], match[3])
        raise UsageError(
            f"condition {text!r}: expected COLUMN<NUMBER, or <=, >, >=, or COLUMN=WORD, or !=, of "
            f"which {PART.name}=NAME is one"
        )
