"""Run every benchmark that takes minutes, not hours: python -m benchmarks.

The others are run by themselves: `benchmarks.leak`, `benchmarks.suspects` and `benchmarks.recipes`,
which train for hours; `benchmarks.lineages`, which needs a GPU; `benchmarks.peers` and
`benchmarks.performance`, which install other packages; `benchmarks.load`, `benchmarks.score` and
`benchmarks.stream`, which want the machine for themselves; `benchmarks.full_disk` and
`benchmarks.hosts`, which need root; and `benchmarks.object_store`, which needs a server.
"""

from benchmarks import (
    accidents,
    audit,
    clips,
    crop,
    detection,
    ferplus,
    growth,
    intervals,
    live,
    near_copies,
    small_sets,
    startup,
    steadiness,
    temperature,
    threads,
)

for benchmark in (
    startup,
    live,
    threads,
    ferplus,
    near_copies,
    steadiness,
    detection,
    crop,
    audit,
    clips,
    small_sets,
    intervals,
    temperature,
    growth,
    accidents,
):
    benchmark.main()
