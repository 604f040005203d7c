"""The certificate against the plain formulas, tensor by tensor, on the words that the reference computes."""

import numpy as np
import pytest
from helpers.networks.small_onnx_models import mixed_model

from rrnet_nni.fpga.compiler.compile import FixedPoint, compile_program
from rrnet_nni.fpga.compiler.fixed_point.certificate import certify
from rrnet_nni.fpga.compiler.float_interpreter import walk_float
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.program.reference import run_reference

NOISE = np.random.default_rng(5).normal(size=(3, 3, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module", params=[False, True], ids=["walked again", "kept by calibration"])
def fixed(request: pytest.FixtureRequest) -> FixedPoint:
    found = compile_program(import_model(mixed_model(), "m"), NOISE, compare_passes=request.param)
    assert bool(found.calibration.exact) == request.param
    return found


def test_every_tensor_is_seen_as_far_as_it_reaches_either_way_and_errors_are_what_they_are_called(
    fixed: FixedPoint,
) -> None:
    exact = dict(walk_float(fixed.graph, NOISE))
    _, words = run_reference(fixed.program, fixed.weights, NOISE, tensors=True)
    certificates, errors = certify(fixed.graph, fixed.program, fixed.weights, fixed.calibration)
    values = {
        name: np.ldexp(each.astype(float), -fixed.program.tensor(name).fraction_bits) for name, each in words.items()
    }
    assert [each.tensor for each in certificates] == list(values)
    negative = 0
    for each in certificates:
        reached = np.abs(values[each.tensor]).max()
        assert each.seen == max(reached, fixed.calibration.seen.get(each.tensor.removesuffix(".untruncated"), 0.0))
        negative += bool(each.seen == reached > values[each.tensor].max())
    assert negative
    assert {each.tensor for each in errors} == exact.keys() & values.keys()
    for each in errors:
        wanted = exact[each.tensor].astype(float)
        lost, size = (
            np.sqrt((array**2).reshape(len(NOISE), -1).mean(axis=1)) for array in (values[each.tensor] - wanted, wanted)
        )
        found = (each.rms_error, each.worst_image_error, each.worst_share, each.rms_value)
        formulas = (np.sqrt((lost**2).mean()), lost.max(), (lost / size).max(), np.sqrt((size**2).mean()))
        assert found == pytest.approx(formulas, rel=1e-9)
        assert each.largest_error == np.abs(values[each.tensor] - wanted).max()
    assert not fixed.calibration.exact
