"""One verilated simulator per module for all tests, or the reason why there is none."""

from __future__ import annotations

from functools import cache

import pytest

from rrnet_nni.fpga.hls.rtl.modules import RtlModule
from rrnet_nni.fpga.hls.rtl.simulator import Simulator, missing_tool

needs_verilator = pytest.mark.skipif(bool(missing_tool()), reason=missing_tool() or "verilator is there")


@cache
def simulator(module: RtlModule) -> Simulator:
    """Built once; kept beside the latency tables."""
    return Simulator(module)
