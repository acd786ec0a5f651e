"""Tests of recipes and settings."""

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from mien.config import TrainConfig, load_recipe, recipe_names
from mien.errors import ConfigError
from mien.model import load_model


def test_shipped_recipes() -> None:
    assert recipe_names() == ["base", "best", "fast", "few", "first", "nano", "second", "third"]


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipe_loads_and_comes_back_from_json(name: str) -> None:
    config = load_recipe(name)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_the_recipes_differ() -> None:
    names = recipe_names()
    assert len({load_recipe(name).model_dump_json() for name in names}) == len(names)
    assert load_recipe("base") == TrainConfig(environment=0.25)
    assert load_recipe("first").network == "classic4"


def test_the_recipe_for_few_faces_goes_on_from_the_shipped_nano() -> None:
    few = load_recipe("few")
    assert (few.start_from, few.network) == ("nano", load_model("nano").card.network)
    assert (few.epochs, few.batch_size, few.learning_rate) == (20, 32, 2e-3)  # docs/results.md


def test_config_is_frozen() -> None:
    with pytest.raises(ValidationError):
        TrainConfig().epochs = 3  # type: ignore[misc]


def test_recipe_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('network = "mini"\nepochs = 3 # few\nlearning_rate = 1\n', encoding="utf-8")
    config = load_recipe(str(file))
    assert (config.network, config.epochs, config.learning_rate) == ("mini", 3, 1.0)
    assert config.batch_size == TrainConfig().batch_size


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        pytest.param("epochs=3", "epochs", 3, id="integer"),
        pytest.param(" epochs = 3 ", "epochs", 3, id="blanks"),
        pytest.param("learning_rate=1e-3", "learning_rate", 1e-3, id="float"),
        pytest.param("weight_decay=0", "weight_decay", 0.0, id="integer-for-a-float"),
        pytest.param("soft_labels=false", "soft_labels", False, id="bool"),
        pytest.param("network=classic7", "network", "classic7", id="text-without-quotes"),
        pytest.param('network="classic7"', "network", "classic7", id="text-with-quotes"),
        pytest.param("network=a=b", "network", "a=b", id="second-equals-sign"),
        pytest.param("dropout=0.3", "dropout", 0.3, id="optional"),
        pytest.param("erasing=1", "erasing", 1.0, id="end-of-the-range"),
    ],
)
def test_override(override: str, key: str, value: object) -> None:
    config = load_recipe("base", [override])
    assert getattr(config, key) == value
    assert config.model_dump() == load_recipe("base").model_dump() | {key: value}


def test_the_last_override_wins() -> None:
    assert load_recipe("fast", ["epochs=3", "seed=1", "epochs=5"]).epochs == 5


@pytest.mark.parametrize(
    ("override", "says"),
    [
        pytest.param("epoch=3", "unknown key 'epoch'; did you mean epochs", id="alike"),
        pytest.param("optimiser=sgd", "unknown key 'optimiser'; did you mean optimizer", id="uk"),
        pytest.param("lr=3", "unknown key 'lr'; expected one of network, size", id="unknown"),
        pytest.param("=3", "unknown key ''", id="no-key"),
        pytest.param("epochs", "--set 'epochs': expected key=value", id="no-value"),
        pytest.param("epochs=", "epochs = ''", id="empty"),
        pytest.param("epochs=many", "epochs = 'many': input should be a valid int", id="text"),
        pytest.param("epochs=true", "epochs = True", id="bool-for-a-number"),
        pytest.param("epochs=2.5", "epochs = 2.5", id="fraction"),
        pytest.param("epochs=[1]", "epochs = ", id="list"),
        pytest.param("soft_labels=1", "soft_labels = 1", id="number-for-a-bool"),
        pytest.param("network=5", "network = 5", id="number-for-a-text"),
        pytest.param("epochs=0", "epochs = 0: input should be greater", id="too-small"),
        pytest.param("size=513", "size = 513", id="too-large"),
        pytest.param("channels=2", "channels = 2", id="none-of-the-choices"),
        pytest.param("optimizer=lion", "optimizer = 'lion'", id="none-of-the-names"),
        pytest.param("learning_rate=0", "learning_rate = 0", id="zero-rate"),
        pytest.param("learning_rate=nan", "learning_rate = nan", id="nan"),
        pytest.param("clip_norm=inf", "clip_norm = inf", id="infinite"),
        pytest.param("ema=1.0", "ema = 1.0", id="end-is-out"),
        pytest.param("dropout=1.0", "dropout = 1.0", id="all-dropped"),
        pytest.param("start_from=", "start_from = '': ", id="no-start"),
        pytest.param("dropout=1.5", "dropout = 1.5", id="optional-out-of-range"),
        pytest.param(
            "progressive_size=48",
            "progressive_size = 48: expected 0, or 16 to less than size, 48",
            id="not-smaller",
        ),
    ],
)
@pytest.mark.parametrize("where", ["override", "file"])
def test_bad_setting_names_the_key(tmp_path: Path, override: str, says: str, where: str) -> None:
    key, separator, value = override.partition("=")
    recipe, overrides = "base", [override]
    if where == "file" and key and separator:
        bare = value[:1].isdigit() or value in {"true", "nan", "inf", "[1]"}
        recipe, overrides = str(tmp_path / "mine.toml"), []
        text = f"{key} = {value}" if bare else f'{key} = "{value}"'
        Path(recipe).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe, overrides)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_small_pictures_end_with_their_share_of_the_epochs() -> None:
    """Also where that is a whole number of them."""
    config = TrainConfig(epochs=5, size=48, progressive_size=24, progressive_share=0.6)
    assert [config.side_in(epoch) for epoch in range(5)] == [24, 24, 24, 48, 48]


def test_none_is_a_value_and_one_text_a_list_of_one(tmp_path: Path) -> None:
    assert load_recipe("few").start_from == "nano"
    assert load_recipe("few", ["start_from=none"]).start_from is None
    found = load_recipe("base", ["teachers=nano", "where=relFCs<0.9"])
    assert (found.teachers, found.where) == (("nano",), ("relFCs<0.9",))
    (tmp_path / "mine.toml").write_text('teachers = "nano"\nwhere = "part=mine"\n')
    found = load_recipe(str(tmp_path / "mine.toml"))
    assert (found.teachers, found.where) == (("nano",), ("part=mine",))
    with pytest.raises(ConfigError, match=r"teachers\.0 = '': "):
        load_recipe("base", ["teachers="])


def test_mixup_and_cutmix_share_their_probability() -> None:
    assert load_recipe("base", ["mixup=0.5", "cutmix=0.5"]).cutmix == 0.5
    with pytest.raises(ConfigError, match=r"cutmix = 0\.6: expected at most 0\.5 beside mixup"):
        load_recipe("base", ["mixup=0.5", "cutmix=0.6"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "no recipe '.*', TOML file or run folder: expected one of", id="gone"),
        pytest.param(b"epochs = ", "not readable as TOML", id="broken"),
        pytest.param(b"epochs = 1\nepochs = 2", "not readable as TOML", id="key-twice"),
        pytest.param(b"# \xff", "not readable as TOML", id="not-utf-8"),
        pytest.param(b"[train]\nepochs = 1", "unknown key 'train'", id="table"),
    ],
)
def test_bad_recipe_file(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load_recipe(str(file))


def test_a_run_is_a_recipe(tmp_path: Path, tiny_run: Path, tiny_config: TrainConfig) -> None:
    assert load_recipe(str(tiny_run)) == tiny_config
    changed = load_recipe(str(tiny_run), ["seed=7", 'teachers=["nano"]'])
    assert changed == tiny_config.model_copy(update={"seed": 7, "teachers": ("nano",)})
    (tmp_path / "run.json").write_text(json.dumps({"recipe": changed.model_dump(mode="json")}))
    assert load_recipe(str(tmp_path)) == changed
    for text in ("{", "[]", '{"recipe": 3}', '{"recipe": {"epoch": 3}}'):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(ConfigError, match=r"run\.json is damaged|unknown key 'epoch'"):
            load_recipe(str(tmp_path))


def test_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not readable as TOML"):
        load_recipe(str(tmp_path))


def test_construction_in_python_is_checked_too() -> None:
    with pytest.raises(ValidationError, match="learning_rate"):
        TrainConfig(learning_rate=math.nan)
