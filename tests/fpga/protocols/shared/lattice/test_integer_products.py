"""Both ways of multiplying ciphertexts with weights: the same residues, and shares of the ring's convolution."""

import numpy as np
import pytest

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.protocols.shared.lattice import products
from rrnet_nni.fpga.protocols.shared.lattice.conv_packing import pack_convolution
from rrnet_nni.fpga.protocols.shared.lattice.encryption import Evaluator, SecretKey
from rrnet_nni.fpga.protocols.shared.lattice.modulus import LARGE, MEDIUM, SMALL
from rrnet_nni.fpga.protocols.shared.lattice.polynomials import DEGREE, LANES
from rrnet_nni.fpga.protocols.shared.linear_geometry import LinearGeometry
from rrnet_nni.fpga.ring import pack_weights

KERNELS = products.integer_kernels()
accelerated = pytest.mark.skipif(not KERNELS.integer_accelerated(), reason="no 52-bit products on this processor")
#: Image, weights, stride, padding, groups and output of a convolution.
LAYERS = {
    "kernel": ((5, 9, 9), (6, 5, 3, 3), 1, 1, 1, (9, 9)),
    "stride": ((4, 11, 11), (9, 4, 3, 3), 2, 1, 1, (6, 6)),
    "depthwise": ((24, 33, 33), (24, 1, 3, 3), 1, 1, 24, (33, 33)),
    "tiles": ((2, 100, 100), (3, 2, 3, 3), 1, 1, 1, (100, 100)),
    "many inputs": ((130, 32, 32), (5, 130, 3, 3), 1, 1, 1, (32, 32)),
    "linear": ((700, 1, 1), (30, 700, 1, 1), 1, 0, 1, (1, 1)),
}


def layer(name):
    image, weights, stride, padding, groups, out = LAYERS[name]
    return pack_convolution(image, weights, (stride,) * 2, (padding,) * 4, groups, out)


def ways(*operands):
    yield products.RealProducts(*operands)
    if KERNELS.integer_accelerated():
        yield products.IntegerProducts(KERNELS, *operands)


@accelerated
@pytest.mark.parametrize("modulus", [SMALL, MEDIUM, LARGE], ids=lambda modulus: f"{modulus.bits} bits")
@pytest.mark.parametrize("extreme", [False, True], ids=["random", "largest"])
def test_both_ways_give_the_same_residues(modulus, extreme):
    generator, packing = np.random.default_rng(1), layer("many inputs")
    assert packing.input_polynomials > 16  # more than one pass sums up
    shape = 2, packing.input_polynomials, 2, DEGREE
    weights = generator.integers(0, 2**32, (5, 130, 9), np.uint32)
    if extreme:
        weights[:] = 2**31
    rows = [generator.integers(-(prime // 2), prime // 2 + 1, shape) for prime in modulus.values]
    if extreme:
        rows = [np.full(shape, prime // 2) for prime in modulus.values]
    ciphertexts = np.stack(rows, axis=3).astype(float)
    for outputs in products.parts_of(packing.output_polynomials):
        made = [
            way.sums(outputs, np.full((2, 2, modulus.count, DEGREE, LANES), np.nan))
            for way in ways(packing, modulus, weights, ciphertexts)
        ]
        for index, prime in enumerate(modulus.values):
            assert np.abs(made[1][:, :, index]).max() <= prime // 2 + 1
            assert not np.fmod(made[0][:, :, index] - made[1][:, :, index], prime).any()


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_decrypted_is_the_rings_convolution(name):
    image, shape, stride, padding, groups, out = LAYERS[name]
    generator, packing = np.random.default_rng(2), layer(name)
    x = generator.integers(0, 2**32, (1, *image), np.uint32)
    weights = generator.integers(0, 2**32, shape, np.uint32)
    geometry = LinearGeometry(shape, (stride,) * 2, (padding,) * 4, groups)
    expected = geometry.product(x, pack_weights(weights, groups))
    key = SecretKey(SMALL)
    evaluator = Evaluator(key.public_key(), SMALL)
    polynomials = packing.arrange_inputs(x).reshape(-1, DEGREE)
    ciphertexts = evaluator.read(key.encrypt(polynomials))
    ciphertexts = ciphertexts.reshape(packing.tile_count, packing.input_polynomials, 2, SMALL.count, DEGREE)
    places = packing.output_places()
    for way in ways(packing, SMALL, packing.arrange_weights(weights), ciphertexts):
        found = np.empty((packing.tile_count, packing.output_polynomials, len(places)), np.uint32)
        for part in products.parts_of(packing.output_polynomials):
            sums = way.sums(part, np.empty((packing.tile_count, 2, SMALL.count, DEGREE, LANES)))
            for tile in range(packing.tile_count):
                answers, masks = evaluator.answer(sums[tile], len(part), places)
                found[tile, part.start : part.stop] = key.decrypt(answers, places) - masks
        assert np.array_equal(packing.gather_outputs(found, 1), expected.reshape(1, shape[0], *out))


@accelerated
def test_kernels_that_compute_wrongly_are_refused(tmp_path, monkeypatch):
    source = tmp_path / "integer_products.c"
    text = products._SOURCE.read_text().replace("minus(raised, product)", "minus(*x, product)")
    assert text != products._SOURCE.read_text()
    source.write_text(text)
    header = products._SOURCE.with_name("packing.h")
    (tmp_path / header.name).write_text(header.read_text())
    monkeypatch.setattr(products, "_SOURCE", source)
    with pytest.raises(Refusal, match="computes wrongly"):
        products.integer_kernels.__wrapped__()
