"""X2act by compiled kernels is X2act by torch: value, excess, gradients and running statistics."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.evaluators import fused_squares
from rrnet_nni.evaluators.fused_squares import SquareKernels, square_kernels, use_kernels
from rrnet_nni.fpga.native.library import CompilationUnavailable, build_library
from rrnet_nni.search_spaces import NormalizedX2act

try:
    build_library(fused_squares._SOURCE)
except CompilationUnavailable:
    pytest.skip("there is no C compiler", allow_module_level=True)


def step(square: NormalizedX2act, x: torch.Tensor, pull: float) -> list[torch.Tensor]:
    """Value, excess, gradients and running statistics of a step whose loss holds `pull` times the excess."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value, weights = square(x), torch.linspace(-1, 2, x.numel()).reshape(x.shape)
    assert square.range_excess is not None
    loss = (value.float() * weights).sum()
    (loss + pull * square.range_excess if pull else loss).backward()
    gradients = [tensor.grad for tensor in (x, square.a0, square.a1, square.a2)]
    return [value.detach(), square.range_excess.detach(), *gradients, *square.buffers()]  # type: ignore[list-item]


def twins(channels: int, seed: int = 0, bound: float = 1.0) -> tuple[NormalizedX2act, NormalizedX2act]:
    """One X2act by torch and the same one by the kernels."""
    generator = torch.Generator().manual_seed(seed)
    usual = NormalizedX2act("act", channels)
    with torch.no_grad():
        for parameter in usual.parameters():
            parameter.copy_(torch.randn(channels, generator=generator))
    usual.range_bound = bound
    fused = copy.deepcopy(usual)
    fused.kernels = SquareKernels()
    return usual, fused


@given(
    shape=st.tuples(st.integers(2, 5), st.integers(1, 70), st.integers(2, 6), st.integers(2, 5)),
    scale=st.floats(0.1, 30),
    mean=st.floats(-50, 50),
    pull=st.sampled_from([0.0, 0.7]),
    laid_out=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_a_step_is_that_of_torch(
    shape: tuple[int, ...], scale: float, mean: float, pull: float, laid_out: bool, seed: int
) -> None:
    usual, fused = twins(shape[1], seed)
    x = mean + scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if laid_out:
        x = x.contiguous(memory_format=torch.channels_last)
    # torch in double precision: its float32 loses more digits to the mean than the kernels do.
    expected = step(usual.double(), x.double(), pull)
    for ours, theirs in zip(step(fused, x, pull), expected, strict=True):
        size = float(theirs.abs().max())
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=2e-3, atol=2e-4 * max(1.0, size))


def test_in_bfloat16_only_inputs_and_outputs_are_rounded() -> None:
    usual, fused = twins(24)
    x = torch.randn(8, 24, 6, 6).bfloat16()
    expected = step(usual, x.float(), 0.5)
    for ours, theirs in zip(step(fused, x, 0.5), expected, strict=True):
        size = float(theirs.abs().max())
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=1e-2, atol=1e-2 * size)
    assert fused(x).dtype == torch.bfloat16


def test_threads_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(7, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    alone = step(twins(6)[1], x, 0.5)
    monkeypatch.setattr(fused_squares, "_SHARE", 64)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = step(twins(6)[1], x, 0.5)
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)  # sums of floats in another order


def test_without_its_value_the_excess_alone_has_a_gradient() -> None:
    usual, fused = twins(3)
    gradients = []
    for square in (usual, fused):
        x = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
        square(x)
        square.range_excess.backward()  # type: ignore[union-attr]
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)


def test_what_ran_away_stays_visible() -> None:
    fused = twins(2)[1]
    x = torch.randn(4, 2, 3, 3)
    x[1, 1, 0, 0] = torch.nan
    value = fused(x)
    assert value[:, 1].isnan().all()
    assert value[:, 0].isfinite().all()


def test_kernels_are_for_the_processor_alone() -> None:
    fused = twins(2)[1].to("meta")
    assert fused(torch.empty(4, 2, 3, 3, device="meta")).shape == (4, 2, 3, 3)


def test_a_network_with_kernels_can_be_copied_and_pickled() -> None:
    fused = twins(2)[1]
    x = torch.randn(4, 2, 3, 3)
    expected = fused(x)
    for copied in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert copied.kernels is not None
        torch.testing.assert_close(copied(x), expected)


def test_the_switch_of_all_kernels_turns_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRNET_RING_BACKEND", "limbs")
    assert square_kernels.__wrapped__() is None
    monkeypatch.setenv("RRNET_RING_BACKEND", "compiled")
    assert isinstance(square_kernels.__wrapped__(), SquareKernels)


def test_kernels_that_compute_wrongly_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(SquareKernels):
        def __call__(self, square: NormalizedX2act, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            value, excess = super().__call__(square, x)
            return value, 1.01 * excess

    monkeypatch.setattr(fused_squares, "SquareKernels", Wrong)
    monkeypatch.delenv("RRNET_RING_BACKEND", raising=False)
    assert square_kernels.__wrapped__() is None


def test_at_inference_nothing_changes() -> None:
    usual, fused = twins(3)
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(usual.eval()(x), fused.eval()(x))
    use_kernels(fused, None)
    assert fused.kernels is None
