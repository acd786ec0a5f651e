"""Why figures may flatter a model: what it has learnt from, and what became of the labels."""

from collections.abc import Mapping
from typing import Any

from mien.card import ModelCard
from mien.data.dataset import Dataset, with_parts
from mien.judging.lineage import knows_pictures_of
from mien.records import Split

__all__ = ["caveat_of", "caveat_of_labels"]


def caveat_of(card: ModelCard, dataset: Dataset, split: Split) -> str:
    """Return why figures on a split of a dataset may flatter a model; empty: nothing is known."""
    caveats = (
        _of_epochs(card),
        _of_images(card, dataset.info, split),
        _of_people(card, dataset, split),
        "" if split == "train" else caveat_of_labels(dataset.info),
    )
    return " ".join(filter(None, caveats))


def caveat_of_labels(info: Mapping[str, Any]) -> str:
    """Say where networks had a say in what labels a dataset has; empty: they had none."""
    steps = [step for each in with_parts(info) for step in each.get("cleaned", ())]
    if not any(
        step.get("label_from") == "model" or "label_suspect" in step.get("drop", ())
        for step in steps
    ):
        return ""
    return (
        "The data was cleaned by what networks say ('mien data clean'): images whose labels they "
        "doubt are gone or have others, so figures may be better than on the data as it was."
    )


def _of_epochs(card: ModelCard) -> str:
    done = card.training.get("epochs_done")
    if done is None:
        return ""
    return f"Its training is not finished: {done} of {card.training['recipe']['epochs']} epochs."


def _of_people(card: ModelCard, dataset: Dataset, split: Split) -> str:
    """Say where people whom a model learnt from are those whom it is judged by."""
    if split == "train" or dataset.info["fingerprint"] not in card.learnt_from:
        return ""
    learnt, shown = (
        {*dataset.column("subject", dataset.usable(of))} - {None} for of in ("train", split)
    )
    if not learnt & shown:
        return ""
    return (
        f"Of the {len(shown):,} people who are shown, {len(learnt & shown):,} are shown in its "
        "training images, too: whom it has never seen, it may read less well."
    )


def _of_images(card: ModelCard, info: Mapping[str, Any], split: Split) -> str:
    learnt_from = card.learnt_from
    who = "It, a model that it started from, or one that taught it," if card.has_others else "It"
    if knows_pictures_of(info, card, otherwise=True):
        return (
            f"{who} learnt from another form of this dataset (cleaned, joined, or imported "
            "otherwise): unless all splits stayed as they were, it may have learnt from these "
            "images."
        )
    caveats = []
    if info["fingerprint"] in learnt_from and split != "test":
        caveats.append(
            f"{who} learnt from these images."
            if split == "train"
            else "Its epoch and its temperature were chosen on these images."
        )
    if learnt_from - {info["fingerprint"]}:
        caveats.append(
            f"{who} learnt from other data: nobody has checked whether these images were in that "
            "data."
        )
    return " ".join(caveats)
