"""Pretrained packages on the same images as ours: python -m benchmarks.peers."""
