"""What private inference costs on hardware, and what the hardware does.

Importable with numpy, onnx, pyyaml and cryptography alone: never torch, never NNI.
"""
