"""Run every benchmark: python -m benchmarks."""

from benchmarks import audit, crop, detection, ferplus, live, startup, steadiness

for benchmark in (startup, live, ferplus, steadiness, detection, crop, audit):
    benchmark.main()
