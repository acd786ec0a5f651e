"""What a model must tell about itself: the card that travels inside every model file.

JSON under the key ``mien`` of an ONNX file's metadata and of a safetensors header. Needs no torch.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from mien.errors import ModelError, first_problem
from mien.preprocess import InputSpec

__all__ = ["METADATA_KEY", "ModelCard"]

METADATA_KEY = "mien"

_BEFORE = ("started_from", "averaged", "taught_by")
"""The ways in which a card tells of models before it, each with a list of their lineages."""

_ORIGIN = ("fingerprint", "source_format", "parts", "cleaned_from")
"""What is told of a dataset that an earlier model learnt from."""


class ModelCard(BaseModel):
    """A model's labels, input, origin and figures. Unknown keys of newer versions are ignored."""

    model_config = ConfigDict(frozen=True)

    format_version: Literal[1] = 1
    name: str
    network: str
    labels: tuple[Annotated[str, Field(max_length=64)], ...] = Field(
        min_length=2, description="in the order of the outputs"
    )
    size: int = Field(ge=16, le=512, description="side of the input, pixels")
    channels: Literal[1, 3]
    margin: float = Field(
        0.0, ge=-0.4, le=2.0, description="widening of the detector's box, share of its side"
    )
    normalisation: str = Field(
        "in the file: each image is shifted and scaled to mean 0 and standard deviation 1; "
        "feed pixels as 0..1"
    )
    temperature: float = Field(
        1.0, gt=0, description="the logits were divided by it, as fitted on validation"
    )
    offsets: tuple[FiniteFloat, ...] = Field(
        (),
        description="then added to the logits, one for each label, so that rare emotions count; "
        "none: nothing was",
    )
    tilt: tuple[FiniteFloat, ...] = Field(
        (),
        description="what counting some emotions more in training has added to the divided logits, "
        "one for each label; none: nothing, or the offsets take it out",
    )
    untilted_temperature: float | None = Field(
        None, gt=0, description="divides the logits instead where the tilt is taken out of them"
    )
    worth: float | None = Field(
        None,
        description="points of macro recall that a point of accuracy is worth in the offsets",
    )
    views: int = Field(
        1,
        ge=1,
        description="of each face, turned and enlarged a little, whose answers are averaged",
    )
    parameters: int = Field(description="trained weights")
    training: dict[str, Any] = Field(default_factory=dict, description="data, recipe, epochs")
    figures: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="by split, as measured"
    )
    mien_version: str = ""

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels):
            raise ValueError("expected each label once")
        if not all(label and label.isprintable() for label in labels):
            raise ValueError("expected labels that can be printed")
        return labels

    @field_validator("offsets", "tilt")
    @classmethod
    def _one_each(cls, offsets: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        labels = info.data.get("labels", offsets)  # Absent where they are broken themselves.
        if len(offsets) not in (0, len(labels)):
            raise ValueError(f"expected none or {len(labels)}, one for each label")
        return offsets

    @field_validator("training")
    @classmethod
    def _lineages(cls, training: dict[str, Any]) -> dict[str, Any]:
        for way in _BEFORE:
            told = training.get(way, [])
            known = isinstance(told, list) and all(
                isinstance(each, dict) and {"model", "learnt_from"} <= each.keys() for each in told
            )
            if not known:
                raise ValueError(f"{way}: expected a list of models, each with what it learnt from")
        return training

    @property
    def spec(self) -> InputSpec:
        """What the network sees."""
        return InputSpec(size=self.size, channels=self.channels, margin=self.margin)

    def lineage(self) -> dict[str, Any]:
        """Return what the card of a model tells of this one, that it goes on from or learnt from.

        Of those before this one it has the names and, each once, where the datasets came from
        that they learnt from (``earlier``), so that cards stay small however many generations
        there are.
        """
        data = {"dataset": self.training["dataset"]} if "dataset" in self.training else {}
        others = [{key: one[key] for key in _ORIGIN if key in one} for one in self.datasets]
        own = {one["fingerprint"] for one in data.values()}
        earlier = [one for one in others if one["fingerprint"] not in own]
        names = {way: [each["model"] for each in told] for way, told in self._before().items()}
        return {
            "model": self.name,
            **data,
            **({"earlier": earlier} if earlier else {}),
            "learnt_from": sorted(self.learnt_from),
            **names,
        }

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """What is told of the datasets that it, or what came before it, learnt from, each once."""
        lineages = [each for told in self._before().values() for each in told]
        found: dict[str, dict[str, Any]] = {}
        for each in (self.training, *lineages):
            own = [each["dataset"]] if "dataset" in each else []
            for one in (*own, *each.get("earlier", ())):
                found.setdefault(one["fingerprint"], one)
        return list(found.values())

    @property
    def learnt_from(self) -> set[str]:
        """Fingerprints of all datasets that it, a model before it or a teacher has learnt from.

        What one of them has seen may be held out now.
        """
        own = {self.training["dataset"]["fingerprint"]} if "dataset" in self.training else set()
        before = (each for told in self._before().values() for each in told)
        return own.union(*(each["learnt_from"] for each in before))

    @property
    def has_others(self) -> bool:
        """Whether other models went before it or taught it."""
        return bool(self._before())

    def _before(self) -> dict[str, list[dict[str, Any]]]:
        """Return the lineages of the models before it, by the way in which they served it."""
        return {way: self.training[way] for way in _BEFORE if way in self.training}

    @classmethod
    def parse(cls, text: str, *, source: str) -> "ModelCard":
        """Read a card from JSON.

        Raises:
            ModelError: it is no card of this version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            where, says = first_problem(error)
            raise ModelError(f"{source}: its card is broken at {where!r} ({says})") from None
