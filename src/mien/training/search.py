"""Trying a recipe's settings: which values train best on these data, judged on validation.

Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS) proposes the values. A
trial that is worse than half of the finished ones were at the same epoch is given up, as in Google
Vizier (Golovin et al. 2017, KDD, section 3.2.2). ``search.json`` holds every trial and is rewritten
at each one's begin and end, so a search goes on where it was killed.
"""

import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, Final, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from mien.atomic import write_text
from mien.cluster import cluster, losses
from mien.config import TrainConfig, checked, overridden, recipe_values
from mien.data.stream import open_data
from mien.errors import DataError, DatasetError, UsageError
from mien.judging import plots
from mien.lock import AtWorkError, alone_in
from mien.places import absolute
from mien.training.history import read_history
from mien.training.train import train

__all__ = ["SEARCH_NAME", "Job", "Trial", "Varied", "search"]

SEARCH_NAME: Final = "search.json"

_JUDGED_AFTER: Final = 4
"""So many whole trials before any is given up."""

_NOT_COMPARED: Final = frozenset({"emotion_based", "emotion_worth"})
"""Nor is ``where`` with emotion-based training: what an emotion is worth goes by its images."""

_GRACE: Final = 0.25
"""Share of the epochs in which no trial is given up."""


@dataclass(frozen=True, slots=True)
class Varied:
    """A setting whose value is looked for.

    Attributes:
        name: of the setting.
        choices: the values to choose from; empty where it is a range.
        low: the smallest value of a range.
        high: the largest value of a range.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Varied":
        """Read ``name=low..high`` or ``name=one,another``.

        Raises:
            UsageError: it is neither.
        """
        name, separator, values = text.partition("=")
        name, values = name.strip(), values.strip()
        if separator and "," in values:
            return cls(name, choices=tuple(part.strip() for part in values.split(",")))
        if separator and ".." in values:
            low, _, high = values.partition("..")
            with suppress(ValueError):
                # Whole numbers stay whole: a range of them is one of whole numbers.
                ends = [int(end) if end.strip().isdigit() else float(end) for end in (low, high)]
                if all(map(math.isfinite, ends)) and ends[0] < ends[1]:
                    return cls(name, low=ends[0], high=ends[1])
        raise UsageError(
            f"--vary {text!r}: expected key=low..high or key=one,another (learning_rate=1e-4..1e-2)"
        )

    def ends(self) -> tuple[Any, ...]:
        """Return values of which each must suit the recipe."""
        return self.choices or (self.low, self.high)

    def distribution(self) -> BaseDistribution:
        """Return it in Optuna's words: a range over a tenfold or more is searched by factors."""
        if self.choices:
            return CategoricalDistribution(self.choices)
        wide = self.low > 0 and self.high / self.low >= 10
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=wide)
        return FloatDistribution(self.low, self.high, log=wide)


@dataclass(frozen=True, slots=True)
class Trial:
    """One try of some values.

    Attributes:
        number: from 0; its run folder is ``trial-0000``.
        values: of the varied settings, as text.
        state: ``begun``, ``whole``, ``given up`` or ``failed``.
        losses: validation loss after each epoch.
        accuracy: on validation, of the epoch with the lowest loss.
        seconds: how long it took.
        reason: why it failed.
    """

    number: int
    values: Mapping[str, str]
    state: Literal["begun", "whole", "given up", "failed"] = "begun"
    losses: Sequence[float] = ()
    accuracy: float | None = None
    seconds: float = 0.0
    reason: str | None = None

    @property
    def folder(self) -> str:
        """The name of its run folder, within that of the search."""
        return f"trial-{self.number:04d}"

    @property
    def loss(self) -> float:
        """The lowest validation loss; infinite where there is none."""
        return min(self.losses, default=math.inf)


@dataclass(frozen=True, slots=True)
class Job:
    """What is searched.

    Attributes:
        data: a dataset folder or a stream; a path becomes absolute, since a cluster's workers have
            working directories of their own.
        recipe: a shipped recipe or a file.
        settings: ``key=value`` that all trials share.
        varied: what differs.
        device: ``cpu``, ``cuda`` or ``auto``.
        sets: what the recipe and the settings say, read once: whoever edits the file meanwhile
            does not change the trials that are still to come.

    Raises:
        ConfigError: no such recipe, or a setting is no ``key=value``.
    """

    data: str
    recipe: str
    settings: tuple[str, ...]
    varied: tuple[Varied, ...]
    device: str = "auto"
    sets: Mapping[str, Any] = field(init=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", absolute(self.data))
        object.__setattr__(self, "sets", recipe_values(self.recipe, self.settings))

    def config(self, values: Mapping[str, str]) -> TrainConfig:
        """Return the recipe with some values.

        Raises:
            ConfigError: a name or a value does not suit.
        """
        chosen = [f"{name}={value}" for name, value in values.items()]
        return checked(overridden(self.sets, chosen), self.recipe)


class _WorseThanHalfError(Exception):
    """Ends a trial that is not worth its time."""


def search(
    job: Job,
    out: Path,
    *,
    trials: int,
    engine: str = "local",
    workers: int = 1,
    on_trial: Callable[[Trial], None] | None = None,
) -> list[Trial]:
    """Try values until so many trials have ended, in this search and those it goes on with.

    Args:
        job: what is searched.
        out: the search's folder; one that is there already is gone on with.
        trials: how many trials in all.
        engine: ``local``, one after another in this process, or ``ray``, on a cluster.
        workers: how many trials Ray does at a time.
        on_trial: is told each trial that ended.

    Returns:
        Every trial, the best first.

    Raises:
        UsageError: the folder holds another search or something else, another command is at work
            in it, or there is no such engine.
        ConfigError: a varied setting does not suit the recipe.
        DataError: no trial ended whole, or the data cannot be read (any more); the same call goes
            on with the trials in hand.
    """
    if engine not in _ENGINES:
        raise UsageError(f"engine {engine!r}: expected one of {', '.join(_ENGINES)}")
    twice = [name for name, n in Counter(varied.name for varied in job.varied).items() if n > 1]
    if twice:
        raise UsageError(f"--vary {twice[0]}: given twice; expected each setting once")
    weighed = job.sets.get("emotion_based", False)
    for varied in job.varied:
        if varied.name in _NOT_COMPARED or (weighed and varied.name == "where"):
            raise UsageError(
                f"--vary {varied.name}: the validation losses of such trials weigh images "
                "differently, so they cannot be compared; --set it, and vary others"
            )
        for end in varied.ends():
            job.config({varied.name: str(end)})
    fingerprint = open_data(job.data).info["fingerprint"]
    with alone_in(out, kind="search", known_by=SEARCH_NAME):
        return _search(_State(job, out, fingerprint), trials, engine, workers, on_trial)


def _search(
    state: "_State",
    trials: int,
    engine: str,
    workers: int,
    on_trial: Callable[[Trial], None] | None,
) -> list[Trial]:
    job, out = state.job, state.out
    for trial in _ENGINES[engine](state, trials, workers):
        state.put(trial)
        # Nobody goes on from there any more, and each has the weights three times.
        shutil.rmtree(out / trial.folder / "checkpoints", ignore_errors=True)
        if on_trial is not None:
            on_trial(trial)
    ranked = state.ranked()
    if not ranked or ranked[0].state != "whole":
        why = ranked[0].reason if ranked else None
        raise DataError(f"{out}: no trial ended whole" + (f" ({why})" if why else ""))
    best = job.config(ranked[0].values).model_dump(
        mode="json", exclude_unset=True, exclude_none=True
    )
    lines = "".join(f"{name} = {_as_toml(value)}\n" for name, value in best.items())
    write_text(out / "best.toml", lines)
    shown = [asdict(trial) | {"loss": trial.loss} for trial in ranked if trial.losses]
    plots.save_search(out / "search.png", shown)
    return ranked


@dataclass
class _State:
    """All trials so far, on disk and as Optuna sees them."""

    job: Job
    out: Path
    fingerprint: str
    trials: dict[int, Trial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = self.out / SEARCH_NAME
        if not path.exists():
            return
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            before, trials = held["job"], [Trial(**trial) for trial in held["trials"]]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DatasetError(f"{path}: damaged ({error}); choose another --out") from None
        # A search of before the recipe's settings were noted goes on with those that it has now.
        before.setdefault("sets", self.about["sets"])
        if before != self.about:
            raise UsageError(f"{self.out} holds another search: choose another --out")
        self.trials = {trial.number: trial for trial in trials}

    @cached_property
    def about(self) -> dict[str, Any]:
        """What tells this search from others; a recipe that is changed meanwhile is another."""
        about: dict[str, Any] = json.loads(json.dumps(asdict(self.job)))
        for name in ("data", "device"):
            del about[name]
        return about | {"fingerprint": self.fingerprint}

    def ranked(self) -> list[Trial]:
        """Return the whole trials from the best to the worst, then the others."""
        return sorted(
            self.trials.values(),
            key=lambda trial: (trial.state != "whole", trial.loss, trial.number),
        )

    def put(self, trial: Trial) -> None:
        """Keep a trial, on disk too."""
        self.trials[trial.number] = trial
        held = {"job": self.about, "trials": [asdict(each) for each in self.trials.values()]}
        write_text(self.out / SEARCH_NAME, json.dumps(held, indent=1) + "\n")

    def to_do(self, trials: int) -> Iterator[Trial]:
        """Yield the trials that a killed search had begun, then new ones, each when asked for."""
        yield from [trial for trial in self.trials.values() if trial.state == "begun"]
        while len(self.trials) < trials:
            trial = Trial(len(self.trials), self._proposed())
            self.put(trial)
            yield trial

    def _proposed(self) -> dict[str, str]:
        space = {varied.name: varied.distribution() for varied in self.job.varied}
        # A sampler for each proposal: what it proposes depends on the trials alone, not on how
        # often the search was interrupted.
        sampler = optuna.samplers.TPESampler(seed=len(self.trials), constant_liar=True)
        study = optuna.create_study(sampler=sampler)
        states = {"whole": TrialState.COMPLETE, "begun": TrialState.RUNNING}
        for trial in self.trials.values():
            if trial.state == "failed":
                continue
            values = {name: _as_in(space[name], text) for name, text in trial.values.items()}
            # One given up counts with the loss it had: it would have been somewhat better.
            begun = trial.state == "begun"
            study.add_trial(
                optuna.trial.create_trial(
                    params=values,
                    distributions=space,
                    value=None if begun else trial.loss,
                    state=states.get(trial.state, TrialState.COMPLETE),
                )
            )
        return {name: str(value) for name, value in study.ask(space).params.items()}

    def bar(self) -> tuple[float, ...]:
        """Return, for each epoch, the loss that half of the whole trials had reached by then."""
        curves = [trial.losses for trial in self.trials.values() if trial.state == "whole"]
        if len(curves) < _JUDGED_AFTER:
            return ()
        epochs = min(map(len, curves))
        return tuple(median(min(curve[: i + 1]) for curve in curves) for i in range(epochs))


def _as_toml(value: Any) -> str:
    """Write a setting as TOML does, which is as JSON does but for two things."""
    # TOML knows no pairs of surrogates, and allows no delete character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _as_in(distribution: BaseDistribution, text: str) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return text
    return int(text) if isinstance(distribution, IntDistribution) else float(text)


def _run(job: Job, out: Path, trial: Trial, bar: Sequence[float]) -> Trial:
    """Train with a trial's values; return how it ended.

    Raises:
        DatasetError: the data cannot be read, which is no fault of the values.
        AtWorkError: another process is at work on the trial, as one of a killed search may be.
    """
    started = time.perf_counter()
    run = out / trial.folder
    data = open_data(job.data)

    def judge(entry: Mapping[str, Any]) -> None:
        epoch = entry["epoch"]
        if not _GRACE * config.epochs < epoch < config.epochs or epoch > len(bar):
            return
        if min(each["valid_loss"] for each in read_history(run)) > bar[epoch - 1]:
            raise _WorseThanHalfError

    state: Literal["whole", "given up", "failed"] = "whole"
    reason = None
    try:
        # Values that suit the recipe one by one may not suit each other.
        config = job.config(trial.values)
        train(data, config, run, resume=True, device=job.device, on_epoch=judge)
    except _WorseThanHalfError:
        state = "given up"
    except (DataError, UsageError) as error:
        # Values that choose among the images may leave none.
        lasting = isinstance(error, DatasetError) and "where" not in trial.values
        if lasting or isinstance(error, AtWorkError):
            raise
        state, reason = "failed", str(error)
    entries = read_history(run)
    best = min(entries, key=lambda entry: float(entry["valid_loss"]), default=None)
    return replace(
        trial,
        state=state,
        losses=tuple(entry["valid_loss"] for entry in entries),
        accuracy=None if best is None else best["valid_accuracy"],
        seconds=round(time.perf_counter() - started, 1),
        reason=reason,
    )


def _local(state: _State, trials: int, workers: int) -> Iterator[Trial]:
    del workers  # One after another: training takes all cores as it is.
    for trial in state.to_do(trials):
        yield _run(state.job, state.out, trial, state.bar())


def _ray(state: _State, trials: int, workers: int) -> Iterator[Trial]:
    # A trial computes with as many threads as it asks for CPUs, so they share all that there are.
    with cluster(None) as ray:
        there = ray.cluster_resources()
        largest = max(node["Resources"].get("CPU", 1) for node in ray.nodes() if node["Alive"])
        cpus = max(1, int(min(there.get("CPU", 1) // workers, largest)))
        wanted = {"cpu": False, "cuda": True}.get(state.job.device, there.get("GPU", 0) >= 1)
        task: Any = ray.remote(num_cpus=cpus, num_gpus=int(wanted), max_retries=2)(_run)
        queue = state.to_do(trials)
        running: dict[Any, Trial] = {}
        while True:
            for trial in islice(queue, workers - len(running)):
                running[task.remote(state.job, state.out.resolve(), trial, state.bar())] = trial
            if not running:
                return
            (done, *_), _ = ray.wait(list(running))
            trial = running.pop(done)
            try:
                ended: Trial = ray.get(done)
            except losses(ray):
                ended = replace(trial, state="failed", reason="its process was lost three times")
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            yield ended


_ENGINES: Final[Mapping[str, Callable[[_State, int, int], Iterator[Trial]]]] = MappingProxyType(
    {"local": _local, "ray": _ray}
)
