"""Settings of a training run: typed, validated when made, read from TOML recipes.

A recipe is a TOML file with any of the keys of `TrainConfig`; the package ships some in
``mien/recipes``. Knows nothing of torch.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from mien.errors import ConfigError, first_problem, one_of

__all__ = [
    "RUN_NAME",
    "TrainConfig",
    "checked",
    "load_recipe",
    "overridden",
    "recipe_names",
    "recipe_values",
]

RUN_NAME: Final = "run.json"
"""The file of a run folder that describes the run, its recipe among it."""

Share = Annotated[float, Field(ge=0, le=1)]


class TrainConfig(BaseModel):
    """Every setting of a training run. Defaults suit the ``base`` recipe's network."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    network: str = Field("mirror-m", description="a name from mien.training.networks.NETWORKS")
    size: int = Field(48, ge=16, le=512, description="side of the network's input, pixels")
    channels: Literal[1, 3] = Field(1, description="1 grey, 3 RGB")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="before the last layer; None: the network's"
    )

    start_from: str | None = Field(
        None,
        min_length=1,
        description="a run or a model file of the same network, of any data, to go on from; None: "
        "random weights",
    )

    epochs: int = Field(12, ge=1, le=10_000)
    batch_size: int = Field(128, ge=2, le=65_536)
    seed: int = Field(0, ge=0, le=2**31 - 1)

    where: tuple[str, ...] = Field(
        (),
        strict=False,
        description='what a training image must meet: ["relFCs<0.9", "gender=female"]',
    )

    optimizer: Literal["adamw", "adamax", "muon", "sgd"] = "muon"
    learning_rate: float = Field(1e-2, gt=0, le=10)
    momentum: float = Field(0.95, ge=0, lt=1, description="of sgd and muon, after Nesterov")
    weight_decay: float = Field(0.05, ge=0, le=1, description="not on norms and biases")
    sharpness: float = Field(
        0.0,
        ge=0,
        le=100,
        description="radius of adaptive sharpness-aware steps (ASAM); 0: none, else every step "
        "costs nearly two",
    )
    clip_norm: float = Field(5.0, ge=0, description="largest norm of the gradient; 0: any")
    schedule: Literal["cosine", "onecycle", "plateau", "constant"] = "cosine"
    warmup: Share = Field(
        0.05,
        description="share of all steps during which the rate rises; onecycle has 0.3 or more, "
        "plateau none",
    )
    plateau_factor: float = Field(0.5, gt=0, lt=1)
    plateau_patience: int = Field(
        3,
        ge=0,
        description="epochs without a validation loss that is better by a ten-thousandth that are "
        "let pass; after one more the rate is cut",
    )

    soft_labels: bool = Field(True, description="learn the votes rather than the one label")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    balance: Share = Field(
        0.0, description="rare emotions count more: weight by their number to this negative power"
    )
    logit_adjustment: float = Field(
        0.0, ge=0, le=2, description="margin for rare emotions; 1: as if all were as frequent"
    )
    mixup: Share = Field(0.0, description="probability of mixing a batch's pictures")
    cutmix: Share = Field(
        0.0,
        description="probability of putting parts of pictures into others; with mixup at most 1",
    )
    teachers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        strict=False,
        description="run folders, ONNX files or shipped models whose mean opinion is learnt too",
    )
    teachers_see: Literal["varied", "original"] = Field(
        "varied",
        description="the student's own pictures, at every step; or, once, the dataset's",
    )
    distillation: Share = Field(0.5, description="how much the teachers' opinion counts")
    checkpoint_steps: int = Field(
        0, ge=0, description="a checkpoint within the epoch every so many steps; 0: at its end only"
    )
    progressive_size: int = Field(
        0, ge=0, le=512, description="side of the pictures in the first epochs; 0: size"
    )
    progressive_share: Share = Field(
        0.6, description="share of the epochs, the first, that see pictures of progressive_size"
    )
    ema: float = Field(0.998, ge=0, lt=1, description="decay of averaged weights; 0: none")

    emotion_based: bool = Field(
        False, description="the emotions that do badly on validation get the attention"
    )
    emotion_limit: float = Field(
        8.0, ge=1, le=100, description="how much more an emotion may count than by its number"
    )
    emotion_balanced: Share = Field(
        0.2,
        description="share of the epochs, the last, that go towards all emotions counting alike",
    )
    emotion_worth: float = Field(
        2.0, ge=0, le=100, description="points of macro recall that a point of accuracy is worth"
    )

    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the network")
    compile: bool = Field(False, description="compile the network first; pays on a GPU")
    varied_at_once: int = Field(
        1, ge=1, le=65_536, description="batches whose pictures are varied at once; 32 pay on a GPU"
    )

    flip: Share = Field(0.5, description="probability of mirroring")
    rotation: float = Field(12.0, ge=0, le=180, description="degrees, either way")
    shift: float = Field(0.08, ge=0, le=0.5, description="share of the side, either way")
    scale: float = Field(0.12, ge=0, lt=1, description="share, either way")
    brightness: Share = Field(
        0.25,
        description="share, either way; networks see of it only what becomes black or white",
    )
    contrast: Share = Field(0.25, description="share, either way; likewise")
    gamma: float = Field(
        0.0, ge=0, lt=1, description="exponent of the brightness: share, either way"
    )
    environment: Share = Field(
        0.0, description="probability of each of strange light, something worn, and a poor lens"
    )
    erasing: Share = Field(0.3, description="probability of blanking a rectangle")
    erasing_area: Share = Field(0.2, description="largest share of the picture blanked")

    def side_in(self, epoch: int) -> int:
        """Return the side of the pictures that an epoch, from 0, learns from, in pixels."""
        small = self.progressive_size and epoch < self.progressive_share * self.epochs
        return self.progressive_size if small else self.size

    @field_validator("where", "teachers", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        """Take a text for a list of one."""
        return [given] if isinstance(given, str) else given

    @field_validator("cutmix")
    @classmethod
    def _beside_mixup(cls, cutmix: float, info: ValidationInfo) -> float:
        mixup = info.data.get("mixup", 0.0)
        if mixup + cutmix > 1:
            raise ValueError(f"expected at most {1 - mixup:g} beside mixup = {mixup:g}")
        return cutmix

    @field_validator("progressive_size")
    @classmethod
    def _smaller(cls, side: int, info: ValidationInfo) -> int:
        size = info.data.get("size", 0)  # Absent where it is out of range itself.
        if side and not 16 <= side < size:
            raise ValueError(f"expected 0, or 16 to less than size, {size}")
        return side


def recipe_names() -> list[str]:
    """Return the recipes that the package ships."""
    folder = resources.files("mien") / "recipes"
    return sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".toml"))


def load_recipe(name_or_path: str, overrides: Iterable[str] = ()) -> TrainConfig:
    """Read a recipe and apply ``key=value`` overrides.

    Args:
        name_or_path: a shipped recipe's name, or a TOML file.
        overrides: each ``key=value``; a value is read as TOML, ``none`` as None, else as text.

    Raises:
        ConfigError: no such recipe, or a key or value does not fit; the text names the key.
    """
    return checked(recipe_values(name_or_path, overrides), name_or_path)


def checked(values: Mapping[str, Any], name_or_path: str) -> TrainConfig:
    """Return the settings that a recipe's values make.

    Raises:
        ConfigError: a key or value does not fit; the text names the recipe and the key.
    """
    try:
        return TrainConfig(**values)
    except ValidationError as error:
        raise ConfigError(f"recipe {name_or_path}: {_first_problem(error)}") from None


def recipe_values(name_or_path: str, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return what a recipe and ``key=value`` overrides set, whether or not it fits.

    Raises:
        ConfigError: no such recipe, or an override is no ``key=value``.
    """
    return overridden(_read(name_or_path), overrides)


def overridden(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a recipe's values with ``key=value`` overrides, whether or not they fit.

    Raises:
        ConfigError: an override is no ``key=value``.
    """
    values = dict(values)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ConfigError(f"--set {override!r}: expected key=value")
        values[key.strip()] = _toml_value(text.strip())
    return values


def _read(name_or_path: str) -> dict[str, Any]:
    if name_or_path in recipe_names():
        file = resources.files("mien") / "recipes" / f"{name_or_path}.toml"
        return tomllib.loads(file.read_text(encoding="utf-8"))
    if (run := Path(name_or_path, RUN_NAME)).is_file():
        return _of_run(run)
    try:
        return tomllib.loads(Path(name_or_path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"no recipe {name_or_path!r}, TOML file or run folder: "
            f"{one_of(recipe_names(), name_or_path)}"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"recipe {name_or_path}: not readable as TOML ({error})") from None


def _of_run(path: Path) -> dict[str, Any]:
    try:
        # JSON has lists where settings are tuples; TOML has them, too.
        return dict(json.loads(path.read_text(encoding="utf-8"))["recipe"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"recipe {path.parent}: {path} is damaged ({error})") from None


def _toml_value(text: str) -> Any:
    if text == "none":  # for which TOML has no word
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    key, says = first_problem(error)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {one_of(TrainConfig.model_fields, key)}"
    return f"{key} = {problem['input']!r}: {says}"
