"""Clock cycles of the accelerator's kernels: "array", "comparator" and "alu".

These formulas know shapes and device constants, nothing of protocols: a protocol says how many ring products, AES
blocks or elementwise operations it needs, and these say how long the kernel takes for them. A device with an
accelerator of ours takes the cycles of its kernels (`step_cycles`) for executed protocols; the rates below are for
devices that are known by rates alone, and for the flow of the paper.
"""

from __future__ import annotations

from ..devices import Device
from ..program.operators import Conv, Linear, OperatorShape
from .accelerator import step_cycles
from .protocol import Compute

WORD_BYTES = 4
AES_BLOCK_BITS = 128


def array_rate(shape: Conv | Linear, device: Device) -> float:
    """Ring multiplications per cycle that this shape extracts from the array.

    A dense convolution feeds every lane. With groups only inputs and outputs of one group meet, so that a depthwise
    convolution (one input, one output) runs at its own measured rate and a group of i inputs and o outputs at i * o
    times that, up to the dense rate.
    """
    dense = device.array_multiplications_per_cycle
    if isinstance(shape, Linear) or shape.groups == 1:
        return dense
    pairs = (shape.channels // shape.groups) * (shape.out_channels // shape.groups)
    return min(dense, device.depthwise_multiplications_per_cycle * pairs)


def array_compute(shape: Conv | Linear, products: int, device: Device, batch: int = 1) -> Compute:
    """`products` ring convolutions (or matrix products) of this shape on the array, for a batch of images."""
    return Compute("array", batch * products * shape.macs / array_rate(shape, device))


def alu_compute(operations: float, device: Device) -> Compute:
    """Elementwise ring additions and multiplications."""
    return Compute("alu", operations / device.alu_operations_per_cycle)


def comparator_compute(operations: float, device: Device) -> Compute:
    """Elementary operations of the comparison flow, in the paper's count (32 bits x digits x table entries)."""
    return Compute("comparator", operations / device.comparator_operations_per_cycle)


def aes_compute(blocks: float, device: Device) -> Compute:
    """AES-128 blocks of a pseudorandom generator or hash; they share the comparison kernel."""
    return Compute("comparator", blocks / device.aes_blocks_per_cycle)


#: Word operations of the elementwise kernels per counted element. Bit planes are processed 32 to a word.
WORD_OPERATIONS: dict[tuple[str, str], float] = {
    ("alu", "mask"): 1,  # x - a
    ("alu", "add"): 1,
    ("alu", "subtract"): 1,
    ("alu", "square"): 4,  # Eq. 3: two products and two additions
    ("alu", "wide square"): 4,
    ("alu", "multiply"): 6,  # three products and three additions
    ("alu", "truncate"): 6,  # add E, shift, subtract, top bits, wrap correction, add
    ("alu", "wide truncate"): 6,
    ("alu", "reduce"): 1,  # shift of a share
    ("alu", "multiplex"): 4,  # two products by a bit, two additions
    ("comparator", "choices"): 3,  # split the word, mask, pack
    ("comparator", "digits"): 3,  # the choices, where one-hot words of the other digits are dealt
    ("comparator", "leaves"): 2 * 217 / 32,  # compare with and mask each of 217 table bits
    ("comparator", "and"): 3 / 32,  # mask, open, combine, per opened bit
    ("comparator", "select"): 2 / 32,
}


def step_compute(kernel: str, step: str, count: int, shape: OperatorShape, device: Device) -> Compute:
    """One local step of an executed protocol: `count` ring multiplications ("array") or elements (all others)."""
    if device.accelerator is not None:
        return Compute(kernel, step_cycles(kernel, step, count, shape, device.accelerator))
    if step == "aes":
        return aes_compute(count, device)
    if kernel == "array" and isinstance(shape, Conv | Linear):
        return Compute(kernel, count / array_rate(shape, device))
    operations = count * WORD_OPERATIONS[kernel, step]
    return alu_compute(operations, device) if kernel == "alu" else comparator_compute(operations, device)
