"""The program ``mien``, which ``python -m mien`` is, too."""

import sys

from mien.cores import quota_heeded
from mien.termination import terminations_interrupt

__all__ = ["main"]


def main() -> None:
    """Run the command line, ended without a traceback also while it is being imported."""
    # Before anything else: as the first process of a container it would not heed signals, and
    # NumPy asks for its number of threads once.
    terminations_interrupt()
    quota_heeded()
    try:
        from mien.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("mien: interrupted\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
