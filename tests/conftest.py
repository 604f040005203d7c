"""Prepare the libraries before any test module imports them; property tests never fail for being slow; a run that is
ended from outside ends what its tests started."""

import os
import signal
from types import FrameType

from hypothesis import HealthCheck, settings

from rrnet_nni.base.compatibility import prepare_libraries

prepare_libraries()

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_THIS_RUN = os.getpid()


def _end_as_from_the_keyboard(number: int, frame: FrameType | None) -> None:
    """Without this `timeout` or a CI system leaves hosts, managers and servers behind."""
    if os.getpid() == _THIS_RUN:
        raise KeyboardInterrupt
    signal.signal(number, signal.SIG_DFL)  # a process that a test forked
    os.kill(os.getpid(), number)


signal.signal(signal.SIGTERM, _end_as_from_the_keyboard)
