"""Run every benchmark that takes minutes, not hours: python -m benchmarks.

`benchmarks.leak` and `benchmarks.suspects` train for hours and are run by themselves.
"""

from benchmarks import accidents, audit, ferplus, growth, startup

for benchmark in (startup, ferplus, audit, growth, accidents):
    benchmark.main()
