"""`beaver-ot` on the accelerator: what its host does beside the fabric."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...program import ConvOp, LinearOp, Program
from ...program.operands import ProtocolNumber
from ..accelerator import AcceleratorLayout, Board, image_material
from ..material import RandomSource
from ..party import BatchMaterial, Channel, Observer, PartyProgram
from ..shared.and_tree import AND_OPENED_PLANES
from ..shared.digit_planes import CHOICE_PLANES, MESSAGE_PLANES
from ..shared.linear_geometry import open_words


class BeaverOTHost(PartyProgram):
    """One party of `beaver-ot` whose online phase runs on an accelerator."""

    def __init__(self, number: int, program: Program, channel: Channel, board: Board) -> None:
        super().__init__(number, program, channel)
        self.board = board

    def setup(
        self,
        weight_shares: Mapping[str, np.ndarray],
        weight_masks: Callable[[int], RandomSource],
        observe: Observer,
    ) -> None:
        """Open F = W − B, and put it and the biases' shares into the memory."""
        self.board.put_biases(self.program, weight_shares)
        for index, operation in enumerate(self.program.operations):
            if not isinstance(operation, ConvOp | LinearOp):
                continue
            weight, masks = weight_shares[operation.weight], weight_masks(index)
            self.board.weight_key = masks.keys[0]
            with observe(operation.name):
                opened = open_words(self.channel, weight - masks.words(*weight.shape)[0])
            self.board.put(self.board.table.sections["operations"][index]["weights"], opened)

    def prepare(self, material: BatchMaterial, observe: Observer) -> BatchMaterial:
        """Nothing: masks are expanded on the chip."""
        return material

    def evaluate(self, share: np.ndarray, prepared: BatchMaterial, observe: Observer) -> np.ndarray:
        """One image after the other."""
        shape = self.program.tensor(self.program.output).shape
        outputs = [
            self.board.run(words, key, corrections).reshape(shape)
            for words, (key, corrections) in zip(share, image_material(self.program, prepared))
        ]
        return np.stack(outputs)


#: Choices, messages, the levels of the AND tree, the multiplexer's bit and its words.
ACCELERATOR = AcceleratorLayout(
    ProtocolNumber.BEAVER_OT, (CHOICE_PLANES, MESSAGE_PLANES, *AND_OPENED_PLANES, 1, 0), BeaverOTHost
)
