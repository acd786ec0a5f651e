"""Ray, where it is installed: the cluster that RAY_ADDRESS names, or one for a while."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mien.errors import UsageError

__all__ = ["cluster", "losses"]


@contextmanager
def cluster(workers: int | None) -> Iterator[Any]:
    """Give the module ``ray``, connected.

    Args:
        workers: how many tasks of one CPU a cluster of this machine's own does at a time; None: as
            many as it has cores.

    Raises:
        UsageError: Ray is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise UsageError("engine 'ray' is not installed: pip install '.[ray]'") from None
    if not ray.is_initialized():
        # With RAY_ADDRESS the cluster there; without it one that begins and ends here.
        address = os.environ.get("RAY_ADDRESS")
        ray.init(
            address=address,
            num_cpus=None if address else workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        yield ray
    finally:
        ray.shutdown()


def losses(ray: Any) -> tuple[type[Exception], ...]:
    """Return what a task raises whose process, memory or machine was lost at every try."""
    known = ray.exceptions
    return (known.WorkerCrashedError, known.OutOfMemoryError, known.NodeDiedError)
