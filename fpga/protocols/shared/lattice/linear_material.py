"""Material of convolutions and linear layers: Z = A ⊗ B with one homomorphic product per image.

The weight mask B belongs to the server, which owns the model and learns party 0's part of B too; to party 0 it is
uniform. So A ⊗ B = A_0 ⊗ B + A_1 ⊗ B, and only the first product has a secret of each party: party 0 sends A_0
encrypted, party 1 multiplies by B, masks and returns; party 0 decrypts A_0 ⊗ B + R, subtracts the share Z_0 that its
seed fixes, and sends the difference, from which party 1 gets Z_1 = A_1 ⊗ B − R + (A_0 ⊗ B + R − Z_0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....cost.protocol import Exchange
from ....program import WORD_BYTES
from ....ring import PackedWeights
from ..linear_geometry import LinearGeometry
from ..oblivious_transfer.transfers import Transfers
from .conv_packing import ConvPacking, pack_convolution
from .encryption import Evaluator, SecretKey, hidden_deviation
from .modulus import SMALL, Modulus
from .polynomials import DEGREE, LANES
from .products import all_products, parts_of

#: Ciphertexts of one operation that party 1 holds at a time.
HELD_BYTES = 192 << 20


@dataclass(frozen=True)
class LinearMaterial:
    """One linear operation: its ring product, and the shapes of one image's input and output."""

    geometry: LinearGeometry
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    modulus: Modulus = SMALL

    @property
    def packing(self) -> ConvPacking:
        geometry = self.geometry
        if len(geometry.weights) == 2:
            outputs, inputs = geometry.weights
            return pack_convolution((inputs, 1, 1), (outputs, inputs, 1, 1), (1, 1), (0, 0, 0, 0), 1, (1, 1))
        channels, height, width = self.inputs
        outputs, inputs, kernel_h, kernel_w = geometry.weights
        return pack_convolution(
            (channels, height, width),
            (outputs, inputs, kernel_h, kernel_w),
            geometry.stride,
            geometry.padding,
            geometry.groups,
            (self.outputs[1], self.outputs[2]),
        )

    @property
    def output_elements(self) -> int:
        return int(np.prod(self.outputs))

    def image_rounds(self, images: int) -> tuple[Exchange, ...]:
        """Ciphertexts of A_0, the masked products, and the difference to the share that party 0's seed fixes."""
        packing = self.packing
        held = images * packing.tile_count
        answer = self.modulus.answer_bytes(len(packing.output_places()))
        return (
            *(
                Exchange((len(part) * self.modulus.ciphertext_bytes, 0))
                for part in parts_of(held * packing.input_polynomials)
            ),
            *(Exchange((0, held * len(part) * answer)) for part in parts_of(packing.output_polynomials)),
            Exchange((images * self.output_elements * WORD_BYTES, 0)),
        )

    def hidden_total(self) -> int:
        """Σ E|X| over all coefficients that one image returns, at least: what the masks hide, whatever the image is."""
        packing = self.packing
        returned = packing.tile_count * packing.output_polynomials * len(packing.output_places())
        return returned * hidden_deviation(packing.nonzeros)

    def group(self, images: int) -> int:
        """Images whose ciphertexts party 1 holds together."""
        packing = self.packing
        ciphertext = 2 * self.modulus.count * DEGREE * 8
        per_image = packing.tile_count * (packing.input_polynomials + LANES) * ciphertext
        return max(1, min(images, HELD_BYTES // per_image))


def send_linear(
    transfers: Transfers, material: LinearMaterial, key: SecretKey, a: np.ndarray, fixed: np.ndarray
) -> None:
    """Party 0's part, with its share of the mask and the share of the product that its seed fixes."""
    packing, images = material.packing, len(a)
    rounds = iter(material.image_rounds(images))
    polynomials = packing.arrange_inputs(a.reshape(images, *_image(material))).reshape(-1, DEGREE)
    for part in parts_of(len(polynomials)):
        transfers.exchange(key.encrypt(polynomials[part.start : part.stop]), next(rounds))
    places, held = packing.output_places(), images * packing.tile_count
    wanted = np.empty((held, packing.output_polynomials, len(places)), np.uint32)
    for part in parts_of(packing.output_polynomials):
        received = transfers.exchange(None, next(rounds)).reshape(held * len(part), -1)
        wanted[:, part.start : part.stop] = key.decrypt(received, places).reshape(held, len(part), -1)
    product = packing.gather_outputs(wanted, images).reshape(images, *material.outputs)
    transfers.exchange(product - fixed, next(rounds))


def receive_linear(
    transfers: Transfers,
    material: LinearMaterial,
    evaluator: Evaluator,
    mask: np.ndarray,
    packed_mask: PackedWeights,
    a: np.ndarray,
) -> np.ndarray:
    """Party 1's share of the product; `mask` is B, uint32, `packed_mask` the same laid out, `a` its share of A."""
    packing, images = material.packing, len(a)
    rounds = iter(material.image_rounds(images))
    held = images * packing.tile_count
    ciphertexts = np.empty((held * packing.input_polynomials, 2, material.modulus.count, DEGREE))
    for part in parts_of(len(ciphertexts)):
        message = transfers.exchange(None, next(rounds)).reshape(len(part), -1)
        evaluator.read(message, ciphertexts[part.start : part.stop])
    ciphertexts = ciphertexts.reshape(held, packing.input_polynomials, 2, material.modulus.count, DEGREE)
    places = packing.output_places()
    masks = np.empty((held, packing.output_polynomials, len(places)), np.uint32)
    weights = np.ascontiguousarray(packing.arrange_weights(mask.reshape(*mask.shape, *(1,) * (4 - mask.ndim))))
    for part, sums in all_products(packing, material.modulus, weights, ciphertexts):
        answers = np.empty((held, len(part), material.modulus.answer_bytes(len(places))), np.uint8)
        for place in range(held):
            answers[place], masks[place, part.start : part.stop] = evaluator.answer(sums[place], len(part), places)
        transfers.exchange(answers, next(rounds))
    share = material.geometry.product(a, packed_mask)
    share -= packing.gather_outputs(masks, images).reshape(share.shape)
    difference = transfers.exchange(None, next(rounds)).view("<u4").astype(np.uint32, copy=False)
    return np.asarray(share + difference.reshape(share.shape))


def _image(material: LinearMaterial) -> tuple[int, ...]:
    """The input's shape as an image."""
    return material.inputs if len(material.inputs) == 3 else (*material.inputs, 1, 1)
