"""Several processes that train one network: who takes which images, and what they tell each other.

Every process holds the same weights and takes an equal share of each batch; gradients are averaged
by Lightning Fabric's DDP. What a batch is judged by must not depend on how many share it, so batch
normalisation takes its statistics from the whole batch too.
"""

import atexit
import gc
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mien.errors import DataError, MienError, UsageError

__all__ = [
    "alike",
    "from_first",
    "gather",
    "mean_of_all",
    "share",
    "share_statistics",
    "together",
]

T = TypeVar("T")
E = TypeVar("E", bound=MienError)

_PATIENCE: Final = timedelta(minutes=5)
"""How long a process waits for the others: as long as reading the data may differ."""

_FAREWELL: Final = 10.0
"""Seconds in which the processes of a machine end after the first of them."""
_SHORT: Final = 1.0
"""The same after an interrupt: they may wait for this process, whose connections stay."""

_MEETING: Final = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")

_LEFT: Final[list[object]] = []
"""Groups that this process has left.

They must outlive the networks that they trained: a gradient reducer that frees its group waits,
holding Python's lock, for a thread of the group that may be waiting for that lock. And they must be
gone before Python ends: a thread that still waits for the lock then ends the process by SIGABRT.
"""

_CUT_OFF: Final = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|timed out", re.IGNORECASE
)


@contextmanager
def together(
    device: str, devices: int, nodes: int, precision: Literal["32-true", "bf16-mixed"]
) -> Iterator[Fabric]:
    """Be one of the processes that train together, or the only one.

    The others of this machine are started here by running this program's command line again;
    other machines are found by MASTER_ADDR, MASTER_PORT and NODE_RANK in the environment. Under
    ``torchrun`` or SLURM all of them run already; torchrun also says how many there are.

    Args:
        device: ``cpu``, ``cuda`` or ``auto``, which is one of the two; or another of Lightning's
            accelerators, which nobody has tried.
        devices: how many processes on each machine, one a device.
        nodes: how many machines.
        precision: of the network, in Fabric's words.

    Raises:
        UsageError: there are not so many devices here, or it is not said where to meet.
        DataError: another process was lost, or never came.
    """
    if distributed.is_available() and distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    strategy = DDPStrategy(timeout=_PATIENCE) if devices * nodes > 1 else "auto"
    if device != "cpu" and torch.cuda.is_available():
        # On a GPU convolutions have this precision anyway, and Lightning would advise it at length.
        torch.set_float32_matmul_precision("high")
    try:
        fabric = Fabric(
            accelerator=_chosen(device),
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=precision,
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        if device == "cuda" and not torch.cuda.is_available():
            reason = "there is no CUDA device here; expected auto or cpu"
        elif device not in {"auto", "cpu", "cuda"}:
            reason += "; expected auto, cpu or cuda"
        asked = f" --devices {devices}" if devices > 1 else ""
        raise UsageError(f"--device {device}{asked}: {reason}") from None
    # It would tell each process's number and backend; what matters stands in run.json.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with ExitStack() as stack:
        if isinstance(strategy, DDPStrategy):
            around = strategy.cluster_environment
            if around is None or not around.creates_processes_externally:
                stack.enter_context(_others(devices, nodes))
            stack.enter_context(_losses_told())
            stack.callback(_part)
        fabric.launch()
        yield fabric


def _chosen(device: str) -> str:
    """Return where ``auto`` trains: never on what Lightning would take but nobody has tried."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def _others(devices: int, nodes: int) -> Iterator[None]:
    """Start the further processes of this machine, and see them end.

    Lightning would start them too, but where one is lost it kills this process without a word.
    """
    meeting, program = _meeting(nodes), _program()
    children = [
        subprocess.Popen(program, env=os.environ | meeting | {"LOCAL_RANK": str(number)})
        for number in range(1, devices)
    ]
    added = meeting | {"LOCAL_RANK": "0"}
    os.environ.update(added)
    patience = _FAREWELL
    try:
        yield
    except KeyboardInterrupt:
        # Whoever stops a container signals its first process alone; they write nothing.
        patience = _SHORT
        for child in children:
            child.terminate()
        raise
    finally:
        for name in added:
            del os.environ[name]
        for child in children:
            try:
                child.wait(patience)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _program() -> list[str]:
    """Return the command line that runs this program.

    Raises:
        UsageError: it is none that could be run again.
    """
    module, script = sys.modules["__main__"].__spec__, Path(sys.argv[0])
    if module is not None:
        return [sys.executable, "-m", module.name, *sys.argv[1:]]
    if not script.is_file():
        raise UsageError(
            "this program cannot be started once more for each device: it is no script; write "
            "one, or start all processes with torchrun"
        )
    return [sys.executable, str(script.resolve()), *sys.argv[1:]]


def _meeting(nodes: int) -> dict[str, str]:
    """Return what the environment lacks of where the processes meet.

    Raises:
        UsageError: it must be said, because there are several machines.
    """
    if nodes > 1:
        missing = [name for name in _MEETING if name not in os.environ]
        if missing:
            raise UsageError(
                f"--nodes {nodes}: {', '.join(missing)} not set; on every machine set MASTER_ADDR "
                "and MASTER_PORT to where the first can be reached, and NODE_RANK to 0, 1, ..."
            )
        return {}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    return {name: value for name, value in here.items() if name not in os.environ}


def _part() -> None:
    if _are_several():
        _LEFT.append(distributed.group.WORLD)
        distributed.destroy_process_group()


@atexit.register
def _free_left() -> None:
    gc.collect()  # the networks first
    _LEFT.clear()


def _are_several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@contextmanager
def _losses_told() -> Iterator[None]:
    """Say it in one line where another process was lost."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and not _CUT_OFF.search(str(error)):
            raise
        raise alike(
            DataError(
                "another process of this run was lost or never came; every whole epoch is kept: "
                "start all of them again, with --resume where the run had begun"
            )
        ) from None


def alike(error: E) -> E:
    """Mark an error that every process raises, so that the first alone says it."""
    error.add_note("every process of this run raised it")
    return error


def from_first(fabric: Fabric, make: Callable[[], T]) -> T:
    """Let the first process alone do something; all get what it gave, or raise what it raised."""
    found: T | MienError | None = None
    if fabric.is_global_zero:
        try:
            found = make()
        except MienError as error:
            found = error
    found = fabric.broadcast(found)
    if isinstance(found, MienError):
        raise alike(found)
    return found  # type: ignore[return-value]


def mean_of_all(values: Tensor) -> Tensor:
    """Return the mean over all processes of what each has; gradients flow through."""
    if not _are_several():
        return values
    mean: Tensor = _Mean.apply(values)  # type: ignore[no-untyped-call]
    return mean


def share(fabric: Fabric, positions: Tensor) -> Tensor:
    """Return this process's part of some positions; all parts are equal, a rest is left out."""
    processes = fabric.world_size
    return positions[: len(positions) // processes * processes][fabric.global_rank :: processes]


def gather(fabric: Fabric, answer: Callable[[Tensor], Tensor], count: int) -> Tensor:
    """Let the processes answer for positions 0 to ``count`` and give every one all answers.

    Args:
        fabric: of the processes.
        answer: maps positions, int (n,), to answers, (n, k).
        count: how many positions there are.

    Returns:
        (count, k), in order.
    """
    processes = fabric.world_size
    # Some are asked about twice, so that all processes have equally many.
    asked = torch.arange(-(-count // processes) * processes) % count
    answers = answer(share(fabric, asked))
    if processes == 1:
        return answers
    parts = [torch.empty_like(answers) for _ in range(processes)]
    distributed.all_gather(parts, answers)
    return torch.stack(parts, dim=1).reshape(len(asked), -1)[:count]


def share_statistics(network: nn.Module) -> None:
    """Make a network's batch normalisation see the batches of all processes, in place.

    Names and values of the weights stay. torch's own (`nn.SyncBatchNorm`) refuses the CPU.
    """
    for name, part in network.named_children():
        if isinstance(part, _BatchNorm):
            shared = _SharedBatchNorm(part.num_features, part.eps, part.momentum, part.affine)
            shared.load_state_dict(part.state_dict())
            setattr(network, name, shared)
        else:
            share_statistics(part)


class _SharedBatchNorm(_BatchNorm):
    """Batch normalisation over equal shares of a batch in several processes."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept pictures and rows alike."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        values = input.to(self.weight.dtype)
        over = [0, *range(2, values.ndim)]
        mean = mean_of_all(values.mean(over, keepdim=True))
        centred = values - mean
        variance = mean_of_all(centred.square().mean(over, keepdim=True))
        with torch.no_grad():
            count = values.numel() // self.num_features * distributed.get_world_size()
            momentum = self.momentum or 0.0
            self.running_mean.lerp_(mean.flatten(), momentum)  # type: ignore[union-attr]
            unbiased = variance.flatten() * (count / (count - 1))
            self.running_var.lerp_(unbiased, momentum)  # type: ignore[union-attr]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        shape = mean.shape
        scale = self.weight.view(shape) * (variance + self.eps).rsqrt()
        return (centred * scale + self.bias.view(shape)).to(input.dtype)


class _Mean(torch.autograd.Function):
    """The mean over all processes of what each has; so is the gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total / distributed.get_world_size()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Mean.forward(ctx, gradients[0])
