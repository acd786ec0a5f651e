"""Run every benchmark: python -m benchmarks."""

from benchmarks import audit, ferplus, startup

for benchmark in (startup, ferplus, audit):
    benchmark.main()
