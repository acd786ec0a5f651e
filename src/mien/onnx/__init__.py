"""Graphs of ONNX files, made smaller and quicker with the same answers."""
