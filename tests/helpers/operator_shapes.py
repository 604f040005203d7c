"""Hypothesis strategies for operator shapes and protocols."""

from __future__ import annotations

from hypothesis import strategies as st

from rrnet_nni.fpga.program.operators import (
    Add,
    Affine,
    AvgPool,
    Conv,
    Linear,
    MaxPool,
    Relu,
    Relu6,
    Square,
    Truncate,
    X2act,
)
from rrnet_nni.fpga.protocols import get_costs, protocol_names

protocols = st.sampled_from([get_costs(name) for name in protocol_names()])
small = st.integers(1, 24)


@st.composite
def windows(draw: st.DrawFn, pooling: bool = False) -> dict:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    limit = [(size - 1) if pooling else size for size in kernel]
    padding = (
        draw(st.integers(0, limit[0] // 2)),
        draw(st.integers(0, limit[1] // 2)),
        draw(st.integers(0, limit[0] // 2)),
        draw(st.integers(0, limit[1] // 2)),
    )
    return {
        "height": draw(st.integers(kernel[0], 20)),
        "width": draw(st.integers(kernel[1], 20)),
        "kernel": kernel,
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": padding,
    }


@st.composite
def convolutions(draw: st.DrawFn) -> Conv:
    """Dense, grouped, depthwise and pointwise."""
    groups = draw(st.integers(1, 8))
    return Conv(
        channels=groups * draw(st.integers(1, 8)),
        out_channels=groups * draw(st.integers(1, 8)),
        groups=groups,
        **draw(windows()),
    )


@st.composite
def pools(draw: st.DrawFn) -> MaxPool | AvgPool:
    kind = draw(st.sampled_from([MaxPool, AvgPool]))
    return kind(channels=draw(small), **draw(windows(pooling=True)))


elementwise = st.builds(
    lambda kind, elements: kind(elements),
    st.sampled_from([Relu, Relu6, X2act, Square, Add, Affine, Truncate]),
    st.integers(1, 100_000),
)
shapes = st.one_of(convolutions(), pools(), elementwise, st.builds(Linear, small, small))
