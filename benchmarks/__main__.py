"""Run every benchmark: python -m benchmarks."""

from benchmarks import ferplus, startup

for benchmark in (startup, ferplus):
    benchmark.main()
