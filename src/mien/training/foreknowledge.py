"""What the models that a recipe begins with know of the images that its networks are to judge.

Networks that go on from a model, or are taught by one, know what it knows. Whoever is judged by
images that were left out of training must not know them this way either.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.errors import UsageError
from mien.judging.lineage import knows_pictures_of
from mien.model import is_run, load_model
from mien.training.runs import open_run
from mien.training.teachers import weights_digest

__all__ = ["Foreknowledge", "check_foreknowledge"]


@dataclass(frozen=True, slots=True)
class Foreknowledge:
    """The models that a recipe begins with.

    Attributes:
        weights: the digest of each one's weights, by its name.
        caveat: why figures may be too good by them; empty where none has learnt from anything.
    """

    weights: Mapping[str, str]
    caveat: str


def check_foreknowledge(config: TrainConfig, dataset: Dataset) -> Foreknowledge:
    """Look up what the models that a recipe begins with have learnt from.

    Args:
        config: the recipe; its ``start_from`` and ``teachers`` are looked up.
        dataset: whose images are to be judged.

    Raises:
        UsageError: one of them, or a model before it, tells that it has learnt from this dataset,
            one that it was cleaned or joined of, a fold of these, or the same public set.
    """
    models = [*([config.start_from] if config.start_from else []), *config.teachers]
    foreign = [model for model in models if _knows_others(model, dataset)]
    caveat = ""
    if foreign:
        caveat = (
            f"The networks go on from, or learn from, {', '.join(foreign)}, of other data: nobody "
            "has checked whether these images were among that."
        )
    return Foreknowledge({model: weights_digest(model) for model in models}, caveat)


def _knows_others(name: str, dataset: Dataset) -> bool:
    """Whether a model has learnt from anything; refuse it where that was what is to be judged."""
    card = open_run(Path(name)).card if is_run(name) else load_model(name).card
    if knows_pictures_of(dataset.info, card):
        raise UsageError(
            f"{name} has learnt from pictures that it would be judged by: expected start_from and "
            "teachers of other data, or a recipe without them"
        )
    return bool(card.learnt_from)
