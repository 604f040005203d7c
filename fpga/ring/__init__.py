"""Exact arithmetic on Z_2^32: convolutions and matrix products of 32-bit words, on the fastest backend that works here.

Backends are tried in order: C compiled for this CPU, then float64 limbs in NumPy. Each proves itself on a small
convolution against plain Python before it is used; one that fails is passed over. RRNET_RING_BACKEND names one: `cuda`,
which is not tried by itself, computes on a GPU.
"""

from __future__ import annotations

from .dispatch import PackedWeights, backend_name, pack_weights, ring_conv2d, ring_matmul

__all__ = ["PackedWeights", "backend_name", "pack_weights", "ring_conv2d", "ring_matmul"]
