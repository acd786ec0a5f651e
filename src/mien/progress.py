"""How long work shows how far it is, without knowing what shows it."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

__all__ = ["Progress", "silent"]

T = TypeVar("T")


class Progress(Protocol):
    """Wraps an iterable to show how far it is; ``total`` is how many items will come."""

    def __call__(self, items: Iterable[T], *, total: int, doing: str) -> Iterable[T]:
        """Return the items; ``doing`` says in a word or two what is done with them."""
        ...


def silent(items: Iterable[T], *, total: int, doing: str) -> Iterable[T]:
    """Show nothing."""
    return items
