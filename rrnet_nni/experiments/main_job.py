"""The main job, `rrnet run`: search with NNI, choose, export, compile, execute in two processes, report."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence

from rich.console import Console

from rrnet_nni.base.console import print_json
from rrnet_nni.base.errors import ExecutionFault

from .background import forget_job, note_job
from .experiment_file import check_before_trials, read_experiment
from .finishing import finish, point_latest
from .nni_manager import Experiment, resume_experiment, start_experiment, wait
from .progress import TrialsDisplay
from .trials import Trial, last_error

#: Trials that must fail with the same words, before any succeeds, for the rest to be given up.
DOOMED_TRIALS = 2


def run(options: argparse.Namespace) -> int:
    """Search, then finish the chosen trial. The experiment is stopped whatever happens, and can be resumed."""
    described = read_experiment(options.experiment)
    working_directory = described.directory
    check_before_trials(described)
    # A job that is ended from outside stops its experiment as one that is ended from the keyboard.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=options.json)
    if options.resume:
        experiment = resume_experiment(options.resume, working_directory)
    else:
        experiment = start_experiment(options.experiment, working_directory)
    try:
        console.print(f"NNI experiment [b]{experiment.id}[/b], web UI on {experiment.web_ui} (this machine only)")
        note_job(experiment)
        with TrialsDisplay(console) as display:

            def follow(trials: list[Trial]) -> None:
                display.update(trials)
                give_up_when_doomed(experiment, trials)

            trials = wait(experiment, follow, timeout_s=options.timeout)
        directory = working_directory / experiment.id / "result"
        answer = finish(experiment, trials, directory, options.count, console)
    except KeyboardInterrupt:
        again = f"rrnet run {options.experiment} --resume {experiment.id}"
        console.print(f"stopping; go on later with: {again}", soft_wrap=True)
        raise
    finally:
        experiment.stop()
        forget_job(experiment)
    point_latest(working_directory, directory)
    if options.json:
        print_json(answer)
    return 0


def give_up_when_doomed(experiment: Experiment, trials: Sequence[Trial]) -> None:
    """Stop an experiment whose first trials fail with the same words: the others would, too.

    Raises:
        ExecutionFault: with those words.
    """
    if words := common_failure(experiment, trials):
        raise ExecutionFault(f"the first {DOOMED_TRIALS} trials of experiment {experiment.id} failed alike: {words}")


def common_failure(experiment: Experiment, trials: Sequence[Trial]) -> str | None:
    """The last words of the first trials where those failed alike and none succeeded; else None."""
    ended = [trial for trial in trials if trial.ended]
    if len(ended) < DOOMED_TRIALS or any(trial.status != "FAILED" for trial in ended):
        return None
    said = {last_error(experiment.trial_directory(trial)) for trial in ended[:DOOMED_TRIALS]}
    return said.pop() or None if len(said) == 1 else None
