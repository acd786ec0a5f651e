"""Datasets: importing, the manifest, the packed images, splits without leaks. No torch here."""
