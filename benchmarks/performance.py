"""The speeds of docs/performance.md: python -m benchmarks.performance.

Sets up `fer` as `benchmarks.peers` does and runs `mien bench` with it as a peer. It wants the
machine for itself. The figures are kept in build/performance/.
"""

from benchmarks.peers.__main__ import mien, set_up

OUT = "build/performance"


def main() -> None:
    mien("bench", "--peer", f"fer={set_up()['fer']}", "--out", OUT)


if __name__ == "__main__":
    main()
