import itertools
import json
import math
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from mien.cli import app
from mien.config import TrainConfig, load_recipe
from mien.data.dataset import Dataset
from mien.data.stream import Stream, open_data
from mien.errors import ConfigError, DataError, DatasetError, UsageError
from mien.lock import AtWorkError, alone_in
from mien.training.search import SEARCH_NAME, Job, Trial, Varied, _as_toml, _run, _State, search
from mien.training.train import train

TINY = ("network=mini", "epochs=1", "batch_size=32", "size=24")


class StopError(Exception):
    pass


@pytest.fixture
def job(drawn_dataset: Dataset) -> Job:
    """A good learning rate, and one that learns nothing."""
    rates = Varied.parse("learning_rate=1e-9,4e-3")
    return Job(str(drawn_dataset.path), "fast", TINY, (rates,), "cpu")


def untimed(out: Path) -> list[dict[str, Any]]:
    held = json.loads((out / SEARCH_NAME).read_text())["trials"]
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in held]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ema=0.9..0.99", Varied("ema", low=0.9, high=0.99)),
        ("batch_size=32..256", Varied("batch_size", low=32, high=256)),
        (" optimizer = adamw, sgd ", Varied("optimizer", choices=("adamw", "sgd"))),
        ("start_from=../a,../b", Varied("start_from", choices=("../a", "../b"))),
    ],
)
def test_what_is_varied(text: str, expected: Varied) -> None:
    assert Varied.parse(text) == expected


def test_a_wide_range_is_searched_by_factors() -> None:
    assert Varied.parse("learning_rate=1e-4..1e-2").distribution().log  # type: ignore[attr-defined]
    assert not Varied.parse("ema=0.9..0.99").distribution().log  # type: ignore[attr-defined]
    assert type(Varied.parse("epochs=2..9").distribution()).__name__ == "IntDistribution"


@pytest.mark.parametrize(
    "text", ["ema", "ema=0.9", "ema=1..0", "ema=a..b", "ema=0..inf", "ema=..", "=", ""]
)
def test_what_cannot_be_varied_is_said(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected key=low\.\.high or key=one,another"):
        Varied.parse(text)


def test_the_better_value_wins_and_its_recipe_is_written(tmp_path: Path, job: Job) -> None:
    ended: list[Trial] = []
    ranked = search(job, tmp_path / "s", trials=4, on_trial=ended.append)
    assert [trial.number for trial in ended] == [0, 1, 2, 3]
    assert {trial.values["learning_rate"] for trial in ended} == {"1e-9", "4e-3"}
    assert ranked[0].values["learning_rate"] == "4e-3"
    assert ranked[0].loss < ranked[-1].loss
    recipe = load_recipe(str(tmp_path / "s" / "best.toml"))
    assert (recipe.learning_rate, recipe.network, recipe.size) == (4e-3, "mini", 24)
    assert (tmp_path / "s" / "search.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "s" / "trial-0003" / "run.json").exists()


def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path: Path, job: Job) -> None:
    search(job, tmp_path / "whole", trials=4)

    def stop(trial: Trial) -> None:
        if trial.number == 1:
            raise StopError

    with pytest.raises(StopError):
        search(job, tmp_path / "cut", trials=4, on_trial=stop)
    # The third was begun, and its run may have begun as well.
    state = _State(job, tmp_path / "cut", open_data(job.data).info["fingerprint"])
    assert len(state.trials) == 2
    begun = next(state.to_do(4))
    assert begun.state == "begun"
    _run(job, tmp_path / "cut", begun, ())
    search(job, tmp_path / "cut", trials=4)
    assert untimed(tmp_path / "cut") == untimed(tmp_path / "whole")


def test_a_trial_worse_than_half_is_given_up(tmp_path: Path, job: Job) -> None:
    longer = replace(job, settings=(*TINY, "epochs=4"))
    trial = Trial(0, {"learning_rate": "1e-9"})
    for bar, epochs, state in (
        ((9.0,) * 4, 4, "whole"),
        ((0.1,) * 4, 2, "given up"),  # not in the first quarter
        ((9.0, 9.0, 0.1, 9.0), 3, "given up"),
        ((9.0, 9.0, 9.0, 0.1), 4, "whole"),  # nothing would be saved any more
    ):
        out = tmp_path / f"{epochs}-{state}-{bar[0]}"
        ended = _run(longer, out, trial, bar)
        assert (len(ended.losses), ended.state) == (epochs, state)


def test_the_bar_is_what_half_of_the_whole_trials_had_reached(tmp_path: Path, job: Job) -> None:
    state = _State(job, tmp_path, "f")
    curves = [(5.0, 1.0), (4.0, 6.0), (3.0, 3.0), (2.0, 2.5)]
    for number, losses in enumerate(curves):
        assert state.bar() == ()
        state.put(Trial(number, {"learning_rate": "4e-3"}, "whole", losses))
    state.put(Trial(4, {"learning_rate": "4e-3"}, "given up", (0.0,)))
    assert state.bar() == (3.5, 2.5)


def test_a_failed_trial_does_not_end_the_search(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(data: Dataset, config: TrainConfig, run: Path, **options: Any) -> None:
        if config.learning_rate > 1:
            raise DataError("training diverged")
        train(data, config, run, **options)

    monkeypatch.setattr("mien.training.search.train", diverging)
    wild = replace(job, varied=(Varied.parse("learning_rate=9.0,4e-3"),))
    ranked = search(wild, tmp_path / "s", trials=4)
    assert ranked[0].values["learning_rate"] == "4e-3"
    failed = [trial for trial in ranked if trial.state == "failed"]
    assert failed
    assert failed[0].reason == "training diverged"
    assert failed[0].loss == math.inf
    hopeless = replace(job, varied=(Varied.parse("learning_rate=9.0,9.5"),))
    with pytest.raises(DataError, match=r"no trial ended whole .*diverged"):
        search(hopeless, tmp_path / "t", trials=1)


def test_values_that_do_not_suit_each_other_are_a_failed_trial(tmp_path: Path, job: Job) -> None:
    mixing = (Varied.parse("mixup=0.4,1.0"), Varied.parse("cutmix=0.5,1.0"))
    ranked = search(replace(job, varied=mixing), tmp_path / "s", trials=6)
    assert {trial.state for trial in ranked} == {"whole", "failed"}
    assert "cutmix" in (ranked[-1].reason or "")


def test_a_trial_whose_condition_leaves_no_images_has_failed(
    tmp_path: Path, job: Job, drawn_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharp = pa.array([0.5] * len(drawn_dataset))
    data = replace(
        drawn_dataset,
        manifest=drawn_dataset.manifest.append_column("sharp", sharp),
        info={**drawn_dataset.info, "values": ["sharp"]},
    )
    monkeypatch.setattr("mien.training.search.open_data", lambda _: data)
    ended = _run(job, tmp_path, Trial(0, {"where": '["sharp<0"]'}), ())
    assert ended.state == "failed"
    assert "no usable image" in (ended.reason or "")


def test_a_recipe_that_changed_since_is_another_search(tmp_path: Path, job: Job) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('network = "mini"\n')
    mine = replace(job, recipe=str(recipe))
    search(mine, tmp_path / "s", trials=1)
    recipe.write_text('network = "mini"\nmixup = 0.5\n')
    changed = replace(mine)  # as the same command would read it
    with pytest.raises(UsageError, match="holds another search"):
        search(changed, tmp_path / "s", trials=2)
    path = tmp_path / "s" / SEARCH_NAME
    held = json.loads(path.read_text())
    del held["job"]["sets"]  # as searches did before they noted it
    path.write_text(json.dumps(held))
    assert len(search(mine, tmp_path / "s", trials=1)) == 1


def test_all_trials_are_of_the_recipe_as_it_was_at_the_start(tmp_path: Path, job: Job) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('network = "mini"\n')

    def edit(_: Trial) -> None:
        recipe.write_text('network = "mini"\nmixup = 0.5\n')

    mine = replace(job, recipe=str(recipe))
    search(mine, tmp_path / "s", trials=2, on_trial=edit)
    mixups = [
        json.loads((tmp_path / "s" / f"trial-000{number}" / "run.json").read_text())["recipe"][
            "mixup"
        ]
        for number in range(2)
    ]
    assert mixups == [0.0, 0.0]


def test_data_that_cannot_be_read_are_no_fault_of_the_values(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = itertools.count()

    def lost(data: str) -> Dataset | Stream:
        if next(opened):
            raise DatasetError("the disk is not there")
        return open_data(data)

    with monkeypatch.context() as patched:
        patched.setattr("mien.training.search.open_data", lost)
        with pytest.raises(DatasetError, match="the disk is not there"):
            search(job, tmp_path / "s", trials=2)
    assert [trial["state"] for trial in untimed(tmp_path / "s")] == ["begun"]

    def torn(*_: object, **__: object) -> None:
        raise DatasetError("a file is damaged")

    with monkeypatch.context() as patched:
        patched.setattr("mien.training.search.train", torn)
        with pytest.raises(DatasetError, match="a file is damaged"):
            search(job, tmp_path / "s", trials=2)
    assert [trial["state"] for trial in untimed(tmp_path / "s")] == ["begun"]

    # Where a search was killed, what it had begun may still be at work elsewhere.
    elsewhere = alone_in(tmp_path / "s" / "trial-0000", kind="run", known_by="run.json")
    with elsewhere, pytest.raises(AtWorkError):
        search(job, tmp_path / "s", trials=1)
    assert [trial["state"] for trial in untimed(tmp_path / "s")] == ["begun"]
    assert len(search(job, tmp_path / "s", trials=1)) == 1


def test_ended_trials_keep_no_checkpoints(tmp_path: Path, job: Job) -> None:
    search(job, tmp_path / "s", trials=1)
    assert (tmp_path / "s/trial-0000/best.safetensors").exists()
    assert not (tmp_path / "s/trial-0000/checkpoints").exists()


def test_a_search_killed_as_it_wrote_its_first_file_goes_on(tmp_path: Path, job: Job) -> None:
    (tmp_path / f".{SEARCH_NAME}.partial").touch()
    assert len(search(job, tmp_path, trials=1)) == 1


@pytest.mark.parametrize("value", ["runs/\U0001f600", 'a\x7fb\t"\\\n', True, 1e-9, ("a", "b")])
def test_settings_are_read_back_as_they_were(value: object) -> None:
    read = tomllib.loads(f"value = {_as_toml(value)}")["value"]
    assert read == (list(value) if isinstance(value, tuple) else value)


def test_what_does_not_fit_is_refused(tmp_path: Path, job: Job) -> None:
    with pytest.raises(UsageError, match="engine 'slurm': expected one of local, ray"):
        search(job, tmp_path / "s", trials=1, engine="slurm")
    twice = (Varied.parse("epochs=1,2"), Varied.parse("epochs=2..4"))
    with pytest.raises(UsageError, match="--vary epochs: given twice"):
        search(replace(job, varied=twice), tmp_path / "s", trials=1)
    with pytest.raises(ConfigError, match="learning_speed"):
        search(replace(job, varied=(Varied.parse("learning_speed=1,2"),)), tmp_path, trials=1)
    with pytest.raises(UsageError, match=r"emotion_worth: .* cannot be compared"):
        search(replace(job, varied=(Varied.parse("emotion_worth=1,2"),)), tmp_path, trials=1)
    by_age = replace(job, varied=(Varied.parse("where=age<30,age<60"),))
    with pytest.raises(UsageError, match=r"where: .* cannot be compared"):
        search(replace(by_age, settings=("emotion_based=true",)), tmp_path, trials=1)
    with pytest.raises(ConfigError, match="optimizer"):
        search(replace(job, varied=(Varied.parse("optimizer=sgd,slow"),)), tmp_path, trials=1)
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(UsageError, match="not empty and no search"):
        search(job, tmp_path, trials=1)
    search(job, tmp_path / "s", trials=1)
    with pytest.raises(UsageError, match="holds another search"):
        search(replace(job, settings=()), tmp_path / "s", trials=1)
    (tmp_path / "s" / SEARCH_NAME).write_text('{"trials": [1]}')
    with pytest.raises(DatasetError, match=r"search\.json: damaged"):
        search(job, tmp_path / "s", trials=1)


def test_from_the_command_line(tmp_path: Path, job: Job) -> None:
    command = ["search", "--data", job.data, "--recipe", "fast", "--device", "cpu"]
    command += ["--out", str(tmp_path / "s"), "--trials", "2", "--vary", "learning_rate=1e-9,4e-3"]
    for setting in TINY:
        command += ["--set", setting]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "best of 2 trials: validation loss" in done.stdout
    assert "best.toml" in done.stdout


def test_failed_trials_are_counted_apart(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [
        Trial(0, {"learning_rate": "4e-3"}, "whole", (1.0,), 0.5),
        Trial(1, {"learning_rate": "9.0"}, "failed", reason="training diverged"),
        Trial(2, {"learning_rate": "9.5"}, "failed", reason="training diverged"),
    ]
    monkeypatch.setattr("mien.training.search.search", lambda *_, **__: trials)
    command = ["search", "--data", job.data, "--out", str(tmp_path), "--vary", "learning_rate=1,9"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "best of 1 trial: validation loss 1.0000" in done.stdout
    assert "2 failed: training diverged" in done.stdout


@pytest.mark.usefixtures("ray_within")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning")
def test_on_ray(tmp_path: Path, job: Job) -> None:
    """Two at a time, in processes of a cluster; what they find is what one finds alone."""
    ranked = search(job, tmp_path / "s", trials=2, engine="ray", workers=2)
    assert [trial.state for trial in ranked] == ["whole"] * 2
    for trial in untimed(tmp_path / "s"):
        alone = _run(job, tmp_path / "alone", Trial(trial["number"], trial["values"]), ())
        assert trial["losses"] == pytest.approx(list(alone.losses), rel=1e-5)
