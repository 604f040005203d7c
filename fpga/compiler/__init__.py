"""ONNX to a two-party program and its schedule."""
