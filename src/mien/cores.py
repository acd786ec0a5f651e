"""How much of this machine a process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from mien.errors import UsageError

__all__ = ["checked_threads", "usable_cores"]

_MOST_THREADS = 1024
_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return how many cores this process may use: in a container, fewer than there are.

    Both limits count: the cores that it may run on (affinity), and on Linux the time that it may
    use on all of them together (quota of control groups: ``docker --cpus``, ``limits.cpu``,
    ``CPUQuota=``), rounded up.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas())]))


def checked_threads(threads: int) -> int:
    """Return a number of threads, 0 for as many as there are cores.

    Raises:
        UsageError: it is none, or so large that starting them would take minutes.
    """
    if not isinstance(threads, int) or not 0 <= threads <= _MOST_THREADS:
        raise UsageError(f"threads {threads}: expected 0 to {_MOST_THREADS}")
    return threads


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
