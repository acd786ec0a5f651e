"""What a model tells of the pictures that it, and what came before it, has learnt from."""

from collections.abc import Mapping
from typing import Any, Final

from mien.card import ModelCard
from mien.data.dataset import origins, with_parts
from mien.data.formats import FORMATS

__all__ = ["knows_pictures_of"]

_OWN: Final = frozenset({"join", *(name for name, known in FORMATS.items() if known.coded)})
"""Formats that tell nothing of the pictures; of the others each is one public dataset."""


def knows_pictures_of(info: Mapping[str, Any], card: ModelCard, *, otherwise: bool = False) -> bool:
    """Whether a model tells that it has learnt from pictures of a dataset, of whatever split.

    That is where it, a model before it or a teacher of it learnt from the dataset, one that it was
    cleaned or joined of, a fold of these, or the same public set.

    Args:
        info: the content of the dataset's ``dataset.json``.
        card: the model's.
        otherwise: in another form than the dataset itself, so that its splits may be others.
    """
    here = {info["fingerprint"]} if otherwise else set[str]()
    datasets = [each for each in card.datasets if each["fingerprint"] not in here]
    known = {told.partition(" ")[0] for told in card.learnt_from - here}  # also of a fold
    known = known.union(*map(_fingerprints, datasets))
    learnt = set[str]().union(*map(_public, datasets))
    return bool(_fingerprints(info) & known or _public(info) & learnt)


def _fingerprints(info: Mapping[str, Any]) -> set[str]:
    """Return those of a dataset, of its parts, and of what these were before they were cleaned."""
    own = {each["fingerprint"] for each in with_parts(info)}
    return own.union(origins(info).get("cleaned_from", ()))


def _public(info: Mapping[str, Any]) -> set[str]:
    """Name the public sets whose pictures a dataset has, by the formats of its parts."""
    formats = {each["source_format"] for each in with_parts(info)} - _OWN
    return {"fer2013" if name == "ferplus" else name.partition("-")[0] for name in formats}
