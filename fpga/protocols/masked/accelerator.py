"""`masked` and `masked-dcf` on the accelerator: what their host does beside the fabric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from ...program import ConvOp, LinearOp, MaxPoolOp, Program, ReluOp, SquareOp
from ...program.operands import Flag, ProtocolNumber
from ..accelerator import AcceleratorLayout, Board, image_material
from ..material import RandomSource
from ..party import BatchMaterial, Channel, Observer
from ..shared.and_tree import AND_OPENED_PLANES
from .comparison import Comparison
from .comparison_functions import hash_keys
from .dcf import DcfComparison
from .onehot import OneHotComparison
from .party import MaskedParty
from .values import PreparedOperation


class MaskedHost(MaskedParty):
    """One party of `masked` whose online phase runs on an accelerator; the host prepares what the software prepares."""

    comparison: ClassVar[Comparison] = OneHotComparison()

    def __init__(self, number: int, program: Program, channel: Channel, board: Board) -> None:
        super().__init__(number, program, channel, self.comparison)
        self.board = board

    def setup(
        self,
        weight_shares: Mapping[str, np.ndarray],
        weight_masks: Callable[[int], RandomSource],
        observe: Observer,
    ) -> None:
        self.board.weight_key = weight_masks(0).keys[0]
        super().setup(weight_shares, weight_masks, observe)

    def open_weights(self, index: int, masked: np.ndarray) -> np.ndarray:
        opened = super().open_weights(index, masked)
        self.board.put(self.board.table.sections["operations"][index]["weights"], opened)
        return opened

    def prepare(  # type: ignore[override]
        self, material: BatchMaterial, observe: Observer
    ) -> tuple[BatchMaterial, list[PreparedOperation]]:
        return material, super().prepare(material, observe)

    def evaluate(  # type: ignore[override]
        self, share: np.ndarray, prepared: tuple[BatchMaterial, list[PreparedOperation]], observe: Observer
    ) -> np.ndarray:
        """One image after the other, each with its offline parts of products and the masks' shares of open inputs."""
        material, known = prepared
        shape = self.program.tensor(self.program.output).shape
        outputs = []
        for image, (key, corrections) in enumerate(image_material(self.program, material)):
            for record, operation, part in zip(self.board.table.sections["operations"], self.program.operations, known):
                if isinstance(operation, ConvOp | LinearOp) and part.product is not None:
                    self.board.put(record["prepared"], part.product[image])
                reads_open = not record["flags"] & (Flag.OPENS | Flag.LIFTED | Flag.LIFTS)
                if isinstance(operation, ReluOp | MaxPoolOp | SquareOp) and reads_open and part.mask is not None:
                    self.board.put(record["prepared"], part.mask[image])
            outputs.append(self.board.run(share[image], key, corrections).reshape(shape))
        return np.stack(outputs)


class MaskedDcfHost(MaskedHost):
    """The same of `masked-dcf`: the accelerator evaluates the comparison keys."""

    comparison: ClassVar[Comparison] = DcfComparison()

    def evaluate(  # type: ignore[override]
        self, share: np.ndarray, prepared: tuple[BatchMaterial, list[PreparedOperation]], observe: Observer
    ) -> np.ndarray:
        self.board.hash_keys = hash_keys(prepared[0].source(0).set_id)
        return super().evaluate(share, prepared, observe)


#: The levels of the AND tree and the bit that selects; keys leave the bit alone.
ONEHOT_ACCELERATOR = AcceleratorLayout(ProtocolNumber.MASKED, (*AND_OPENED_PLANES, 1), MaskedHost)
DCF_ACCELERATOR = AcceleratorLayout(ProtocolNumber.MASKED_DCF, (1,), MaskedDcfHost)
