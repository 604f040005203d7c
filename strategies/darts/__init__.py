"""Algorithm 1: differentiable search with the latency in the loss, as an NNI strategy."""

from .strategy import RRNetDARTS

__all__ = ["RRNetDARTS"]
