"""What a look at one thing of a machine found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that trials need.

    Attributes:
        subject: what was looked at, such as "compiler".
        sentence: what is there, or what is wrong.
        mend: what to do about it; None where it is as it should be.
    """

    subject: str
    sentence: str
    mend: str | None = None

    @property
    def is_fault(self) -> bool:
        return self.mend is not None

    def __str__(self) -> str:
        return f"{self.subject}: {self.sentence}" + (f"; {self.mend}" if self.mend else "")
