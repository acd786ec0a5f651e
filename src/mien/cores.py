"""How much of this machine a process may use."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.errors import DataError, UsageError

__all__ = ["quota_heeded", "session_threads", "telling_of_threads", "usable_cores"]

_MOST_THREADS = 1024
_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_NO_THREADS = ("PosixThread", "can't start new thread", "cannot join thread before it is started")
"""What ONNX Runtime and Python say where a limit of processes is reached."""


def usable_cores() -> int:
    """Return how many cores this process may use: in a container, fewer than there are.

    Both limits count: the cores that it may run on (affinity), and on Linux the time that it may
    use on all of them together (quota of control groups: ``docker --cpus``, ``limits.cpu``,
    ``CPUQuota=``), rounded up.
    """
    return max(1, min([_cores(), *(math.ceil(quota) for quota in _quotas())]))


def quota_heeded() -> None:
    """Let libraries that start a thread a core start as many as a quota leaves; call it early.

    OpenMP's variable is heeded by torch and NumPy, and by what this process starts.
    """
    if (cores := usable_cores()) < _cores():
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


def session_threads(threads: int) -> int:
    """Return how many threads ONNX Runtime shall start, 0 for one a core.

    Args:
        threads: what was asked for; 0: one a core, of a quota as many as it leaves.

    Raises:
        UsageError: it is no number of threads, or so large that starting them would take minutes.
    """
    if not isinstance(threads, int) or not 0 <= threads <= _MOST_THREADS:
        raise UsageError(f"threads {threads}: expected 0 to {_MOST_THREADS}")
    return threads or (cores if (cores := usable_cores()) < _cores() else 0)


@contextmanager
def telling_of_threads() -> Iterator[None]:
    """Say it in one line where the system allows no more threads or processes.

    Raises:
        DataError: it does not.
    """
    try:
        yield
    except Exception as error:
        if not any(sign in str(error) for sign in _NO_THREADS):
            raise
        raise DataError(
            "the system allows no more threads or processes: expected a higher limit (ulimit -u, "
            "--pids-limit of a container), or where there are --workers fewer of them"
        ) from error


def _cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas() -> Iterator[float]:
    """Yield the quotas of the control groups that this process is in, in cores."""
    for line in _text(_OWN_GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = _GROUPS / "cpu" if controllers else _GROUPS  # version 1, version 2
        group = top / path.lstrip("/")
        # A container may see another path than its own, so all up to the top are asked.
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            files = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
            told = " ".join(_text(folder / name) for name in files).split()
            if len(told) == 2 and all(number.isdecimal() for number in told):
                yield int(told[0]) / int(told[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
