"""The version of the package, read from what was installed."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("mien")
