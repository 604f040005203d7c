"""The steps of a compilation, and what each usually takes."""

from __future__ import annotations

READING, FORMATS, CERTIFICATE, SCHEDULE, GAINS, WRITING = (
    *("reading the model", "passes and formats", "errors of the formats", "schedule"),
    *("what the passes save", "writing the build"),
)
#: Seconds of one processor for ResNet-18 at 224 pixels with eight calibration images; only their ratios are meant.
STEPS = {READING: 0.2, FORMATS: 1.2, CERTIFICATE: 0.4, SCHEDULE: 1.6, GAINS: 0.2, WRITING: 0.4}


def unheard(step: str) -> None:
    """Where nobody listens to the steps."""
