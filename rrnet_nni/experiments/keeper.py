"""The start of NNI's trial keeper on a machine of a remote experiment: `python -m rrnet_nni.experiments.keeper FOLDER`.

NNI's manager starts it over ssh. What an earlier keeper of the same experiment left running on this machine is ended
first: its trials are started again, and two must never train in one folder. The keeper listens on the loopback
interface only.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from .nni_manager import loopback_environment
from .processes import end_leftovers


def main() -> None:
    folder = Path(sys.argv[1])
    end_leftovers(folder.parent)
    os.environ.update(loopback_environment())
    runpy.run_module("nni.tools.nni_manager_scripts.launch_trial_keeper", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
