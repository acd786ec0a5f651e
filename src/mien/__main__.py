"""The program ``mien``, which ``python -m mien`` is, too."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, ended by Ctrl-C without a traceback also while it is being imported."""
    try:
        from mien.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("mien: interrupted\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
