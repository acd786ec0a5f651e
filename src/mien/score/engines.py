"""Where the parts are done: processes of this machine, or a Ray cluster."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final

from mien.cluster import cluster, losses
from mien.errors import DataError, UsageError
from mien.places import absolute
from mien.score.plan import Plan
from mien.score.work import Tally, score_part

__all__ = ["ENGINES", "run_parts"]

_TRIES: Final = 3
_AHEAD: Final = 4
"""Parts that each Ray worker has waiting: enough to keep it busy, few enough to hold in mind."""


def run_parts(plan: Plan, model: bytes, *, engine: str, workers: int) -> Iterator[Tally]:
    """Do the parts of a plan that are missing, and yield what each came to.

    A worker that is killed costs the part that it was at, which is done again; a part that kills
    three workers is given up, the others go on.

    Args:
        plan: see `plan_scores`.
        model: the bytes of the model's ONNX file.
        engine: a name of `ENGINES`.
        workers: processes that work at the same time; of a Ray cluster, CPUs.

    Raises:
        UsageError: no such engine, or it is not installed.
        DataError: in the end, where parts were given up, with their numbers.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}: expected one of {', '.join(ENGINES)}")
    given_up: list[int] = []
    yield from ENGINES[engine](plan, model, plan.missing(), workers, given_up.append)
    if given_up:
        raise DataError(
            f"{len(given_up)} parts could not be done, each killed {_TRIES} workers: "
            f"{', '.join(map(str, sorted(given_up)[:10]))}; start again to try them once more"
        )


def _local(
    plan: Plan,
    model: bytes,
    numbers: Sequence[int],
    workers: int,
    give_up: Callable[[int], None],
) -> Iterator[Tally]:
    with TemporaryDirectory(prefix="mien-") as folder:
        file = Path(folder) / "model.onnx"
        try:
            file.write_bytes(model)
        except OSError as error:
            raise DataError(
                f"{folder}: no room for the model ({error.strerror}); TMPDIR names another folder"
            ) from None
        queue, lost = deque(numbers), list[int]()
        while queue:
            running: dict[Future[Tally], int] = {}
            with _pool(workers, file) as pool, _ended_with(file), suppress(BrokenProcessPool):
                while queue or running:
                    while queue and len(running) < workers:
                        future = pool.submit(_do, plan, queue[0])
                        running[future] = queue.popleft()
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
                        del running[future]
            # One worker's death ends them all, and nobody can tell at which part it died.
            lost += running.values()
        for number in lost:
            for _ in range(_TRIES - 1):
                with _pool(1, file) as pool, _ended_with(file), suppress(BrokenProcessPool):
                    yield pool.submit(_do, plan, number).result()
                    break
            else:
                give_up(number)


@contextmanager
def _ended_with(model: Path) -> Iterator[None]:
    """Let the workers end where this is left before its time: they live as long as their model.

    Else whoever pressed Ctrl-C would wait for the parts that are under way.
    """
    try:
        yield
    except BaseException:
        model.unlink(missing_ok=True)
        raise


def _pool(workers: int, model: Path) -> ProcessPoolExecutor:
    try:
        return ProcessPoolExecutor(
            workers,
            # A fork of a process that has threads may hang.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_set_up,
            # Not its bytes: to hand them over takes until the worker reads them, and one that is
            # still being started when another dies is not ended with the rest but waited for, for
            # ever.
            initargs=(os.getpid(), model),
        )
    except OSError as error:
        raise DataError(
            f"workers cannot be started ({error.strerror}): expected shared memory that can be "
            "written (/dev/shm on Linux; 64 KB are enough)"
        ) from None


_model = b""


def _set_up(parent: int, model: Path) -> None:
    """Set a worker up: it keeps the model, and ends when that or whoever started it is gone."""
    global _model  # noqa: PLW0603
    # Ctrl-C goes to all processes of a terminal: what becomes of the workers the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _model = model.read_bytes()
    except FileNotFoundError:  # Whoever started it has ended already.
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent and model.exists():
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _do(plan: Plan, number: int) -> Tally:
    return score_part(plan, number, _model)


def _ray(
    plan: Plan,
    model: bytes,
    numbers: Sequence[int],
    workers: int,
    give_up: Callable[[int], None],
) -> Iterator[Tally]:
    # Workers have working directories of their own.
    plan = replace(plan, out=absolute(plan.out))
    with cluster(workers) as ray:
        shared = ray.put(model)
        task: Any = ray.remote(num_cpus=1, max_retries=_TRIES - 1)(score_part)
        queue = iter(numbers)
        running = {task.remote(plan, n, shared): n for n in islice(queue, _AHEAD * workers)}
        while running:
            done, _ = ray.wait(list(running))
            for reference in done:
                number = running.pop(reference)
                try:
                    yield ray.get(reference)
                except losses(ray):
                    give_up(number)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
            for number in islice(queue, len(done)):
                running[task.remote(plan, number, shared)] = number


ENGINES: Final[Mapping[str, Callable[..., Iterator[Tally]]]] = MappingProxyType(
    {"local": _local, "ray": _ray}
)
"""Every engine by name."""
