import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.search_spaces import X2act
from rrnet_nni.search_spaces.x2act import range_excess


@given(w1=st.floats(-0.1, 0.1), w2=st.floats(0.5, 1.5), b=st.floats(-1, 1), c=st.one_of(st.none(), st.floats(0.1, 30)))
@settings(max_examples=40, deadline=None)
def test_forward_is_equation_4(w1: float, w2: float, b: float, c: float | None) -> None:
    module = X2act("act", (3, 4, 5), c=c, w1=w1).double()
    with torch.no_grad():
        module.w1.fill_(w1), module.w2.fill_(w2), module.b.fill_(b)
    x = torch.linspace(-4, 4, 120, dtype=torch.float64).reshape(2, 3, 4, 5)
    factor = 1.0 if c is None else c / math.sqrt(60)
    torch.testing.assert_close(module(x), factor * w1 * x**2 + w2 * x + b, rtol=1e-12, atol=1e-12)


def test_network_starts_as_nearly_the_identity() -> None:
    x = torch.randn(2, 8, 4, 4)
    assert float((X2act("act", (8, 4, 4))(x) - x).detach().abs().max()) < 0.05 * 36


def test_coefficients_are_scalars_or_one_per_channel() -> None:
    assert X2act("act", (8, 4, 4)).w1.shape == ()
    module = X2act("act", (8, 4, 4), per_channel=True)
    assert module.square_coefficient.shape == module.b.shape == (8, 1, 1)
    assert module(torch.zeros(2, 8, 4, 4)).shape == (2, 8, 4, 4)


def test_range_excess_is_kept_in_training_alone() -> None:
    module = X2act("act", (1, 1, 2))
    x = torch.tensor([9.0, -11.0, 8.0, 0.0]).reshape(2, 1, 1, 2)
    module.eval()(x)
    assert module.range_excess is None
    module.train()(x)
    assert float(module.range_excess) == pytest.approx((1 + 9) / 2)


def test_range_excess_has_the_gradient_of_its_formula() -> None:
    x = (10 * torch.randn(4, 3, 5, 5, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(range_excess, (x,))


def test_network_can_be_copied_in_the_middle_of_a_step() -> None:
    module = X2act("act", (1, 1, 2))
    module((20 * torch.ones(1, 1, 1, 2)).requires_grad_())
    twin = copy.deepcopy(module)
    assert twin.range_excess is None
    assert module.range_excess is not None
    with torch.no_grad():
        twin.w1.fill_(3)
    assert float(module.w1.detach()) == pytest.approx(0.05)
