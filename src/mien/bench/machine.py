"""What a machine can do at best, what a piece of work asks of it, and so how fast it could be.

The roofline model (Williams et al. 2009, doi:10.1145/1498765.1498785): work takes at least as long
as its operations take at the peak rate, and at least as long as its bytes take to move.
"""

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mien.progress import Progress, silent

__all__ = ["Bound", "Limit", "Machine", "Precision", "Work", "count_work", "measure_machine"]

Bound = Literal["operations", "bytes"]
Precision = Literal["float32", "bfloat16"]

_SIDE: Final = 2048
_IMAGES: Final = (16, 256, 24, 24)
_FILTERS: Final = (256, 256, 3, 3)
_COPIED: Final = 1 << 28
_TURNS: Final = 5
_TYPES: Final[Mapping[Precision, torch.dtype]] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
}
_PRODUCTS: Final = (torch.ops.aten.convolution.default, torch.ops.aten.addmm.default)


class Work(NamedTuple):
    """What one item (a face, a training image) asks of a machine.

    Attributes:
        operations: multiplications and additions; a multiply-add counts two.
        bytes: read and written, as if no layer found anything in a cache.
    """

    operations: float
    bytes: float


class Limit(NamedTuple):
    """The least seconds that work can take, and what sets them."""

    seconds: float
    bound: Bound


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine was measured to do at best.

    Attributes:
        processor: its name.
        threads: that torch uses on it.
        operations: a second, by precision and threads: of a product of two large matrices or of a
            large convolution, whichever does more.
        bytes: a second, read and written by a large copy on all threads.
    """

    processor: str
    threads: int
    operations: Mapping[tuple[Precision, int], float]
    bytes: float

    def limit(self, work: Work, precision: Precision, threads: int) -> Limit:
        """Return the least time that work can take."""
        by_operations = work.operations / self.operations[precision, threads]
        by_bytes = work.bytes / self.bytes
        bound: Bound = "operations" if by_operations >= by_bytes else "bytes"
        return Limit(max(by_operations, by_bytes), bound)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        peaks: dict[str, dict[str, float]] = {}
        for (precision, threads), rate in self.operations.items():
            peaks.setdefault(precision, {})[str(threads)] = rate
        return {
            "processor": self.processor,
            "threads": self.threads,
            "operations_per_second": peaks,
            "bytes_per_second": self.bytes,
        }


def measure_machine(*, progress: Progress = silent) -> Machine:
    """Measure this machine; takes some seconds.

    Args:
        progress: shows how far it is.
    """
    threads = torch.get_num_threads()
    peaks = [(precision, count) for precision in _TYPES for count in sorted({1, threads})]
    operations = {
        (precision, count): _operations_a_second(_TYPES[precision], count)
        for precision, count in progress(peaks, total=len(peaks), doing="measuring the machine")
    }
    source = torch.ones(_COPIED, dtype=torch.uint8)
    target = torch.empty_like(source)
    copied = 2 * _COPIED / _best(lambda: target.copy_(source))
    return Machine(_processor(), threads, operations, copied)


def count_work(action: Callable[[], object], items: int, *, fused: bool = False) -> Work:
    """Count what torch does in an action, for each of its items.

    Args:
        action: is done once.
        items: that it works on.
        fused: only convolutions and matrix products read and write, as where an engine does all
            that follows them on the way.
    """
    with FlopCounterMode(display=False) as flops, _Traffic(fused=fused) as traffic:
        action()
    return Work(flops.get_total_flops() / items, traffic.bytes / items)


class _Traffic(TorchDispatchMode):
    """Adds up the bytes that operations read and write."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self._fused = fused

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do the operation, and count it where it does not just look at a tensor otherwise."""
        found = func(*args, **(kwargs or {}))
        if func in _PRODUCTS if self._fused else not func.is_view:
            tensors = [x for x in tree_leaves((args, kwargs, found)) if isinstance(x, Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return found


def _operations_a_second(precision: torch.dtype, threads: int) -> float:
    # Either may be the faster one: it depends on the processor.
    left, right = (torch.ones(_SIDE, _SIDE, dtype=precision) for _ in range(2))
    images = torch.ones(_IMAGES, dtype=precision).to(memory_format=torch.channels_last)
    filters = torch.ones(_FILTERS, dtype=precision)
    count, _, height, width = _IMAGES
    products = 2 * _SIDE**3
    convolutions = 2 * math.prod(_FILTERS) * count * height * width
    with _threads(threads), torch.inference_mode():
        return max(
            products / _best(lambda: left @ right),
            convolutions / _best(lambda: conv2d(images, filters, padding=1)),
        )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _best(action: Callable[[], object]) -> float:
    """Return the seconds of the quickest of some turns: a peak is what nothing disturbed."""
    action()
    seconds = []
    for _ in range(_TURNS):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _processor() -> str:
    """Return the processor's name: Linux keeps it in a file, others tell."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or f"{os.cpu_count()} cores"
