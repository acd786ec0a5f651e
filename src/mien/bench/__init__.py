"""The project's own speed figures, as ratios against what they are to beat, measured in one run."""

from mien.bench.machine import Machine, Work, count_work, measure_machine
from mien.bench.race import Race, race
from mien.bench.speed import Figure, bench_recognition, bench_training

__all__ = [
    "Figure",
    "Machine",
    "Race",
    "Work",
    "bench_recognition",
    "bench_training",
    "count_work",
    "measure_machine",
    "race",
]
