"""Figures that people are told, each measured by a command. Nothing here is a test.

Data that may not be in the repository is looked for where MIEN_FERPLUS says; what needs it says so
and is passed over where it is missing.
"""
