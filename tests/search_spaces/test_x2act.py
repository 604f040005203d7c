import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.search_spaces import NormalizedX2act, PlainX2act
from rrnet_nni.search_spaces.x2act import range_excess


@given(w1=st.floats(-0.1, 0.1), w2=st.floats(0.5, 1.5), b=st.floats(-1, 1), c=st.one_of(st.none(), st.floats(0.1, 30)))
@settings(max_examples=40, deadline=None)
def test_forward_is_equation_4(w1: float, w2: float, b: float, c: float | None) -> None:
    module = PlainX2act("act", (3, 4, 5), c=c, w1=w1).double()
    with torch.no_grad():
        module.w1.fill_(w1), module.w2.fill_(w2), module.b.fill_(b)
    x = torch.linspace(-4, 4, 120, dtype=torch.float64).reshape(2, 3, 4, 5)
    factor = 1.0 if c is None else c / math.sqrt(60)
    torch.testing.assert_close(module(x), factor * w1 * x**2 + w2 * x + b, rtol=1e-12, atol=1e-12)


def test_network_starts_as_nearly_the_identity() -> None:
    x = torch.randn(2, 8, 4, 4)
    assert float((PlainX2act("act", (8, 4, 4))(x) - x).detach().abs().max()) < 0.05 * 36


def test_coefficients_are_scalars_or_one_per_channel() -> None:
    assert PlainX2act("act", (8, 4, 4)).w1.shape == ()
    module = PlainX2act("act", (8, 4, 4), per_channel=True)
    assert module.coefficients()[0].shape == module.b.shape == (8, 1, 1)
    assert module(torch.zeros(2, 8, 4, 4)).shape == (2, 8, 4, 4)


def test_range_excess_is_kept_in_training_alone() -> None:
    module = PlainX2act("act", (1, 1, 2))
    module.range_bound = 8.0
    x = torch.tensor([9.0, -11.0, 8.0, 0.0]).reshape(2, 1, 1, 2)
    module.eval()(x)
    assert module.range_excess is None
    module.train()(x)
    assert float(module.range_excess) == pytest.approx((1 + 9) / 2)


def test_range_excess_of_normalized_bases_is_of_what_is_normalized() -> None:
    module = NormalizedX2act("act", 1)
    x = torch.tensor([100.0, *[0.0] * 399]).reshape(4, 1, 10, 10)
    z = (x - x.mean()) / x.std(unbiased=False)
    module(x)
    expected = float((z.max() - module.range_bound) ** 2 / 4)
    assert float(module.range_excess.detach()) == pytest.approx(expected, rel=1e-3)


def test_range_excess_has_the_gradient_of_its_formula() -> None:
    x = (10 * torch.randn(4, 3, 5, 5, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(range_excess, (x,))


def test_network_can_be_copied_in_the_middle_of_a_step() -> None:
    module = PlainX2act("act", (1, 1, 2))
    module((20 * torch.ones(1, 1, 1, 2)).requires_grad_())
    twin = copy.deepcopy(module)
    assert twin.range_excess is None
    assert module.range_excess is not None
    with torch.no_grad():
        twin.w1.fill_(3)
    assert float(module.w1.detach()) == pytest.approx(0.05)


def normalized(channels: int = 3) -> NormalizedX2act:
    """An X2act in normalized bases, float64, whose statistics have seen off-centre data."""
    torch.manual_seed(0)
    module = NormalizedX2act("act", channels).double()
    with torch.no_grad():
        module.a0.uniform_(-1, 1), module.a1.uniform_(0.5, 1.5), module.a2.uniform_(-1, 1)
    for _ in range(5):
        module(1.5 * torch.randn(8, channels, 4, 4, dtype=torch.float64) + 0.7)
    return module


def test_normalized_bases_are_those_of_the_batch_in_training() -> None:
    module, x = normalized(), torch.randn(8, 3, 4, 4, dtype=torch.float64) + 0.3

    def norm(values: torch.Tensor) -> torch.Tensor:
        mean, variance = values.mean((0, 2, 3), keepdim=True), values.var((0, 2, 3), keepdim=True, unbiased=False)
        return (values - mean) / variance.sqrt()

    a0, a1, a2 = (value[:, None, None] for value in (module.a0, module.a1, module.a2))
    # The variance of z² is floored: what is normalized by it is a little smaller.
    floor = (1 + module.square_eps / (norm(x) ** 2).var((0, 2, 3), keepdim=True, unbiased=False)).rsqrt()
    expected = a0 + a1 * norm(x) + a2 * floor * norm((norm(x) ** 2 - 1) / math.sqrt(2))
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-4)


def test_normalized_bases_fold_into_equation_4_at_evaluation() -> None:
    module, x = normalized().eval(), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    k, w2, b = module.coefficients()
    assert k.shape == w2.shape == b.shape == (3, 1, 1)
    z = (x - module.input_mean[:, None, None]) / (module.input_variance + module.eps).sqrt()[:, None, None]
    spread = (module.square_variance + module.square_eps).sqrt()[:, None, None]
    square = (z**2 - module.square_mean[:, None, None]) / spread
    expected = module.a0[:, None, None] + module.a1[:, None, None] * z + module.a2[:, None, None] * square
    torch.testing.assert_close(module(x), expected)
    torch.testing.assert_close(module(x), k * x**2 + w2 * x + b)


def test_statistics_freeze_at_evaluation() -> None:
    module = normalized().eval()
    before = {name: value.clone() for name, value in module.named_buffers()}
    assert len(before) == 4
    alone = module(torch.ones(1, 3, 1, 1, dtype=torch.float64))
    beside = module(torch.cat([torch.ones(1, 3, 1, 1, dtype=torch.float64), 50 * torch.ones(1, 3, 1, 1)]))
    torch.testing.assert_close(alone[0], beside[0])
    assert all(torch.equal(before[name], value) for name, value in module.named_buffers())
    module.train()(5 * torch.randn(4, 3, 2, 2, dtype=torch.float64))
    assert all(not torch.equal(before[name], value) for name, value in module.named_buffers())


def test_untrained_statistics_give_the_hermite_expansion_of_relu() -> None:
    module = NormalizedX2act("act", 1).double().eval()
    x = torch.randn(1, 1, 400, 400, dtype=torch.float64)
    error = (module(x) - x.relu()).detach()
    # Nothing of degree 0 to 2 is left of the error.
    for basis in (torch.ones_like(x), x, x**2):
        assert abs(float((error * basis).mean())) < 0.02


def test_normalized_form_differentiates_twice() -> None:
    module = normalized(2)
    x = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda values: module(values), (x,))
