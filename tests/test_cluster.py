"""What is asked of Ray, and what becomes of what it loses; Ray itself is in `test_search`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mien.score import engines
from mien.score.plan import Job as ScoreJob
from mien.score.plan import Plan
from mien.training.search import Job, Trial, Varied, _ray, _State

LOSSES = ("WorkerCrashedError", "OutOfMemoryError", "NodeDiedError")


class Ray:
    """Does tasks at once where they are asked for, and notes what was asked."""

    exceptions = SimpleNamespace(
        **{name: type(name, (Exception,), {}) for name in (*LOSSES, "RayTaskError")}
    )

    def __init__(
        self, resources: dict[str, float], fails_with: str | None = None, *, machines: int = 1
    ) -> None:
        self._resources = resources
        self._machines = machines
        self._fails_with = fails_with
        self._results: dict[object, Any] = {}
        self.asked: dict[str, int] = {}

    @contextmanager
    def cluster(self, workers: int | None) -> Iterator["Ray"]:
        yield self

    def cluster_resources(self) -> dict[str, float]:
        return self._resources

    def nodes(self) -> list[dict[str, Any]]:
        each = {name: count / self._machines for name, count in self._resources.items()}
        alive = [{"Alive": True, "Resources": each}] * self._machines
        return [*alive, {"Alive": False, "Resources": {"CPU": 64.0}}]

    def put(self, value: object) -> object:
        return value

    def remote(self, **asked: int) -> Callable[..., Any]:
        self.asked = asked

        def of(function: Callable[..., Any]) -> Any:
            def do(*given: Any) -> object:
                task = object()
                self._results[task] = function(*given)
                return task

            return SimpleNamespace(remote=do)

        return of

    def wait(self, tasks: list[object]) -> tuple[list[object], list[object]]:
        return tasks[:1], tasks[1:]

    def get(self, task: object) -> Any:
        if self._fails_with:
            raise getattr(self.exceptions, self._fails_with)
        return self._results[task]


def trials(
    ray: Ray, out: Path, monkeypatch: pytest.MonkeyPatch, *, device: str = "auto", workers: int = 2
) -> list[Trial]:
    """Search with a stand-in for Ray and for training."""
    monkeypatch.setattr("mien.training.search.cluster", ray.cluster)
    monkeypatch.setattr(
        "mien.training.search._run",
        lambda _, __, trial, ___: replace(trial, state="whole", losses=(1.0,)),
    )
    job = Job("data", "fast", (), (Varied.parse("ema=0.5,0.9"),), device)
    return list(_ray(_State(job, out, "f"), 3, workers))


@pytest.mark.parametrize(
    ("device", "resources", "asked"),
    [
        ("auto", {"CPU": 8.0, "GPU": 1.0}, (4, 1)),
        ("auto", {"CPU": 8.0}, (4, 0)),
        ("cpu", {"CPU": 8.0, "GPU": 1.0}, (4, 0)),
        ("cuda", {"CPU": 1.0, "GPU": 1.0}, (1, 1)),
    ],
)
def test_trials_share_the_cores_and_take_the_gpu(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    resources: dict[str, float],
    asked: tuple[int, int],
) -> None:
    ray = Ray(resources)
    assert len(trials(ray, tmp_path, monkeypatch, device=device)) == 3
    assert (ray.asked["num_cpus"], ray.asked["num_gpus"]) == asked


def test_no_trial_asks_for_more_cores_than_a_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would ever do it."""
    ray = Ray({"CPU": 16.0}, machines=4)
    assert len(trials(ray, tmp_path, monkeypatch)) == 3
    assert ray.asked["num_cpus"] == 4


@pytest.mark.parametrize("error", LOSSES)
def test_what_is_lost_fails_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    ended = trials(Ray({"CPU": 2.0}, error), tmp_path, monkeypatch)
    assert [trial.state for trial in ended] == ["failed"] * 3
    assert ended[0].reason == "its process was lost three times"
    monkeypatch.setattr(engines, "cluster", Ray({}, error).cluster)
    monkeypatch.setattr(engines, "score_part", lambda *_: None)
    plan = Plan("out", ScoreJob("a", "image", "base", "f", "none", "none"), (1, 1))
    given_up: list[int] = []
    assert not list(engines.ENGINES["ray"](plan, b"", [0, 1], 1, given_up.append))
    assert given_up == [0, 1]


def test_workers_are_given_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Job("data", "fast", (), ()).data == str(tmp_path / "data")
    assert Job("s3://bucket/data", "fast", (), ()).data == "s3://bucket/data"
    plans: list[str] = []
    monkeypatch.setattr(engines, "cluster", Ray({}).cluster)
    monkeypatch.setattr(engines, "score_part", lambda plan, *_: plans.append(plan.out))
    for out in ("out", "s3://bucket/out"):
        plan = Plan(out, ScoreJob("a", "image", "base", "f", "none", "none"), (1,))
        list(engines.ENGINES["ray"](plan, b"", [0], 1, print))
    assert plans == [str(tmp_path / "out"), "s3://bucket/out"]
