"""How many images the holder of a certificate may have evaluated, over all sessions and sets of material."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ..material.party_set import write_durably

#: In a party's directory of keys: fingerprint of a peer's certificate -> images that were evaluated for it.
LEDGER = "quota.json"
SHOWN = 16


@dataclass(frozen=True)
class Quota:
    """What one identity may use.

    Attributes:
        directory: of this party's keys, where the count is kept.
        identity: fingerprint of the peer's certificate.
        most: images in all.
    """

    directory: Path
    identity: str
    most: int

    def claim(self, images: int) -> None:
        """Count a session's images, whatever becomes of it: durable when this returns.

        Raises:
            Refusal: the identity has not so many left, or what it has used is not known.
            ExecutionFault: the count cannot be written.
        """
        with self._locked():
            used = self._read()
            left = max(0, self.most - used.get(self.identity, 0))
            if images > left:
                raise Refusal(
                    f"the certificate {self.identity[:SHOWN]}... asks for {images} images, and {left} of its quota of "
                    f"{self.most} are left"
                )
            used[self.identity] = used.get(self.identity, 0) + images
            write_durably(self.directory / LEDGER, json.dumps(used, sort_keys=True).encode())

    def _read(self) -> dict[str, int]:
        try:
            used = json.loads((self.directory / LEDGER).read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            used = None
        if not isinstance(used, dict) or any(type(count) is not int or count < 0 for count in used.values()):
            raise Refusal(
                f"{self.directory / LEDGER} is damaged: what clients have used is unknown; repair or remove it"
            )
        return used

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """No other process counts meanwhile."""
        try:
            descriptor = os.open(self.directory, os.O_RDONLY)
        except OSError as error:
            raise ExecutionFault(f"{self.directory} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
