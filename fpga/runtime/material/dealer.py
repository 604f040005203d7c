"""The dealer: a third process that makes the parties' correlated randomness and sees no input, weight or message.

Both parties trust it to follow the protocol and to talk to neither of them: together with one party's messages its
seeds would reveal the other party's secret. It may be switched off once the material is handed over.
"""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rrnet_nni.base.errors import Refusal

from ...program import Program
from ...protocols.party import DealerProgram, Execution
from ...protocols.shared.randomness import Keystream, fresh_bytes
from .corrections_file import corrections_path, write_corrections
from .key_chain import KnownKeys, PartyKeys
from .party_set import SET_ID_BYTES, SetDescription, check_replaceable, party_directory, write_party
from .scratch import scratch_directory

#: Working memory that a group of images may take while it is dealt.
GROUP_BYTES = 128 << 20


@dataclass(frozen=True)
class DealerSeeds:
    """Both parties' keys, what makes the dealer worth trusting or not, and the set's public number."""

    parties: tuple[PartyKeys, PartyKeys]
    set_id: bytes

    @staticmethod
    def fresh() -> DealerSeeds:
        return DealerSeeds((PartyKeys.fresh(), PartyKeys.fresh()), fresh_bytes(SET_ID_BYTES))

    def weight_masks(self, operation: int) -> tuple[Keystream, Keystream]:
        """Both parties' parts of an operation's weight mask."""
        return self.parties[0].weight_source(operation), self.parties[1].weight_source(operation)

    def images(self, indices: range, operation: int) -> tuple[Keystream, Keystream]:
        """Both parties' expansions of one operation for some inferences."""
        first, second = (chain.keys(indices) for chain in self._chains)
        return Keystream(first, operation, self.set_id), Keystream(second, operation, self.set_id)

    @functools.cached_property
    def _chains(self) -> tuple[KnownKeys, KnownKeys]:
        return KnownKeys(self.parties[0]), KnownKeys(self.parties[1])


def deal_for_both(
    dealer: DealerProgram, seeds: DealerSeeds, indices: range
) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]]]:
    """Both parties' corrections for some inferences: per party and inference, one uint8 buffer per operation."""
    writers = dealer.deal(lambda operation: seeds.images(indices, operation), len(indices))

    def corrections(party: int) -> list[list[np.ndarray]]:
        per_operation = [writer.buffers(party) for writer in writers]
        return [[buffers[image] for buffers in per_operation] for image in range(len(indices))]

    return corrections(0), corrections(1)


def prepare_set(
    root: Path,
    program: Program,
    program_digest: str,
    execution: Execution,
    count: int,
    replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Write material for `count` inferences to `root`/party-0 and `root`/party-1; returns the seconds it took.

    Raises:
        Refusal: `root` holds unused material and `replace` is not set, or is something else.
        ExecutionFault: the disk is full or not writable; nothing is left behind.
    """
    check_root(root, replace)
    started = time.perf_counter()
    with scratch_directory(root) as scratch:
        _write_set(scratch, program, program_digest, execution, count, started, progress)
        put_in_place(scratch, root, replace)
    return time.perf_counter() - started


def _write_set(
    scratch: Path,
    program: Program,
    program_digest: str,
    execution: Execution,
    count: int,
    started: float,
    progress: Callable[[int, int], None] | None,
) -> None:
    seeds = DealerSeeds.fresh()
    dealer = execution.dealer(program, seeds.weight_masks)
    for party in (0, 1):
        party_directory(scratch, party).mkdir(mode=0o700)
    group = max(1, min(count, GROUP_BYTES // max(1, execution.bytes_per_image(program))))
    sizes = [0, 0]
    for start in range(0, count, group):
        indices = range(start, min(count, start + group))
        for party, dealt in enumerate(deal_for_both(dealer, seeds, indices)):
            for index, parts in zip(indices, dealt):
                sizes[party] = sum(len(part) for part in parts)
                if sizes[party]:
                    write_corrections(corrections_path(party_directory(scratch, party), index), parts)
        if progress is not None:
            progress(indices.stop, count)
    elapsed = time.perf_counter() - started
    for party, corrections_bytes in enumerate(sizes):
        described = SetDescription(
            seeds.set_id.hex(), execution.name, program_digest, count, party, elapsed, corrections_bytes
        )
        write_party(party_directory(scratch, party), described, seeds.parties[party])


def put_in_place(made: Path, root: Path, replace: bool) -> None:
    """Move a finished set to `root`; refuses what `check_root` does, as making it took a while."""
    check_root(root, replace)
    if root.exists():
        shutil.rmtree(root)
    made.rename(root)


def check_root(root: Path, replace: bool) -> None:
    """Refuse to write over material in use, over unused material unless `replace` is set, and over anything else."""
    if root.is_symlink():
        raise Refusal(f"{root} is a link: material lies in a directory of its own")
    if not root.exists():
        return
    parts = [party_directory(root, party) for party in (0, 1)]
    if not root.is_dir() or any(entry not in parts for entry in root.iterdir()):
        raise Refusal(f"{root} exists and is not a directory of material")
    for path in parts:
        check_replaceable(path, replace)
