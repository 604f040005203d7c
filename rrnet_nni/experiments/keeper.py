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

import psutil

from .nni_manager import loopback_environment
from .processes import end_processes, processes_with


def end_leftovers(environment: Path) -> int:
    """End the keepers of an environment's folder and their trials; returns how many processes that were."""
    left = processes_with(lambda process, words: process.pid != os.getpid() and _is_of(process, words, environment))
    end_processes(left)
    return len(left)


def _is_of(process: psutil.Process, words: list[str], environment: Path) -> bool:
    """Whether it is a keeper of this folder, or a trial (NNI tells each its output folder)."""
    is_keeper = any(word.endswith("trial_keeper/main.js") for word in words)
    output = process.environ().get("NNI_OUTPUT_DIR", "")
    return (is_keeper and Path(words[-1]).is_relative_to(environment)) or Path(output).is_relative_to(environment)


def main() -> None:
    folder = Path(sys.argv[1])
    end_leftovers(folder.parent)
    os.environ.update(loopback_environment())
    runpy.run_module("nni.tools.nni_manager_scripts.launch_trial_keeper", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
