"""Run every benchmark that takes minutes, not hours: python -m benchmarks.

`benchmarks.leak` and `benchmarks.suspects` train for hours and are run by themselves; so are
`benchmarks.peers`, which installs other packages, `benchmarks.score` and `benchmarks.load`, which
want the machine for themselves.
"""

from benchmarks import (
    accidents,
    audit,
    crop,
    detection,
    ferplus,
    growth,
    live,
    startup,
    steadiness,
)

for benchmark in (startup, live, ferplus, steadiness, detection, crop, audit, growth, accidents):
    benchmark.main()
