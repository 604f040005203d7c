"""An NNI experiment file whose trials are `rrnet trial`: read, and checked before anything starts."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.settings import Count, WrongSetting, read_yaml, refusal_at
from rrnet_nni.evaluators.images.check import check_data
from rrnet_nni.strategies.pareto_arguments import TunerArguments

from ..machines.surroundings import LEAST_FREE_BYTES
from ..starting_files import DEFAULT_TASK, task_named
from ..task import Task, load_task
from .training_services import training_service
from .tuners import OUR_TUNER, known_tuners, register_tuner

#: What NNI brings to a machine at most.
MOST_FILES, MOST_BYTES = 2000, 300 << 20


@dataclass(frozen=True)
class NniExperiment:
    """The top-level keys of NNI's experiments, as NNI spells them; it checks what they hold."""

    trialCommand: str
    trialConcurrency: Count
    trainingService: dict[str, Any]
    trialCodeDirectory: str = "."
    experimentWorkingDirectory: str = "~/nni-experiments"
    tuner: dict[str, Any] | None = None
    searchSpace: Any = None
    maxTrialNumber: Count | None = None
    experimentName: Any = None
    experimentType: Any = None
    searchSpaceFile: Any = None
    trialGpuNumber: Any = None
    maxExperimentDuration: Any = None
    maxTrialDuration: Any = None
    nniManagerIp: Any = None
    useAnnotation: Any = None
    debug: Any = None
    logLevel: Any = None
    tunerGpuIndices: Any = None
    assessor: Any = None
    advisor: Any = None
    sharedStorage: Any = None

    def __post_init__(self) -> None:
        training_service(self.trainingService, self.trialGpuNumber)
        if self.tuner is not None:
            self._check_tuner(self.tuner)

    def _check_tuner(self, tuner: Mapping[str, Any]) -> None:
        if not (tuner.get("name") or tuner.get("className")):
            raise WrongSetting(f"tuner must be a mapping with a name, such as {OUR_TUNER}")
        if tuner.get("name") != OUR_TUNER:
            return
        key = "tuner"
        try:
            arguments = TunerArguments.of(tuner.get("classArgs"))
            key = "searchSpace"
            if self.searchSpace is not None:  # the file may name another one for it
                arguments.within(self.searchSpace)
        except Refusal as refusal:
            raise WrongSetting(f"{key}: {refusal}") from None


@dataclass(frozen=True)
class ExperimentFile:
    """What the main job needs of an experiment file.

    Attributes:
        directory: where NNI keeps its experiments.
        tuner: the name of its tuner; empty where there is none.
        task: the task of its trials; None where they run something else than `rrnet trial`.
        elsewhere: whether its trials run on other machines, where the images are that are not in the code folder.
        code: the folder that NNI brings to those machines.
    """

    path: Path
    directory: Path
    tuner: str
    task: Task | None
    elsewhere: bool = False
    code: Path = Path()


def read_experiment(path: Path) -> ExperimentFile:
    """Read an experiment file and the task file of its trials.

    Raises:
        Refusal: the file is missing, no YAML, or has an unknown, missing or impossible key; its task file has; or the
            tuner would refuse its arguments, which NNI would notice when the experiment runs.
    """
    document = read_yaml(path, NniExperiment)
    task = _task(path, document)
    directory = Path(document.experimentWorkingDirectory).expanduser()
    name = str((document.tuner or {}).get("name", ""))
    elsewhere = document.trainingService["platform"] != "local"
    code = _code(path, document)
    return ExperimentFile(path, (path.resolve().parent / directory).resolve(), name, task, elsewhere, code)


def check_before_trials(experiment: ExperimentFile) -> None:
    """Refuse what would make every trial fail: images that are not there, an unknown tuner, a full disk.

    Registers ParetoTuner with NNI where it is not.
    """
    place = next(parent for parent in (experiment.directory, *experiment.directory.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        raise Refusal(f"{place} has {free >> 20} MB free: an experiment needs {LEAST_FREE_BYTES >> 20} MB")
    if experiment.tuner:
        if experiment.tuner == OUR_TUNER:
            register_tuner()
        elif experiment.tuner.lower() not in (names := known_tuners()):
            close = get_close_matches(experiment.tuner.lower(), names, n=1)
            hint = f"did you mean {names[close[0]]!r}?" if close else f"there are {', '.join(sorted(names.values()))}"
            raise Refusal(f"{experiment.path}: there is no tuner {experiment.tuner!r}; {hint}")
    if experiment.elsewhere:
        _check_code(experiment)
    if experiment.task is not None and not _is_there(experiment):
        check_data(experiment.task.data)


def _check_code(experiment: ExperimentFile) -> None:
    """Refuse a code folder that NNI would not bring to the machines, or that holds the experiments themselves."""
    files, size = 0, 0
    for folder, _, names in os.walk(experiment.code):
        files, size = files + len(names), size + sum((Path(folder) / name).lstat().st_size for name in names)
    if files > MOST_FILES or size > MOST_BYTES:
        raise Refusal(
            f"{experiment.path}: trialCodeDirectory: {experiment.code} holds {files:,} files of {size >> 20:,} MB, and "
            f"NNI copies at most {MOST_FILES:,} of {MOST_BYTES >> 20} MB to a machine: give the "
            "task file a folder of its own"
        )


def _is_there(experiment: ExperimentFile) -> bool:
    """Whether the images are on the machines of the trials, and so not to be looked for here."""
    root = experiment.task.data.root if experiment.task else None
    return experiment.elsewhere and root is not None and not Path(root).resolve().is_relative_to(experiment.code)


def _code(path: Path, document: NniExperiment) -> Path:
    return (path.resolve().parent / document.trialCodeDirectory).resolve()


def _task(path: Path, document: NniExperiment) -> Task | None:
    """The task that the trial's command names."""
    try:
        words = shlex.split(document.trialCommand)
    except ValueError as error:
        raise refusal_at(path, "trialCommand", str(error)) from None
    commands = [index for index, word in enumerate(words[:-1]) if Path(word).name == "rrnet"]
    if not commands:
        return None
    if (verb := words[commands[0] + 1]) != "trial":
        raise refusal_at(path, "trialCommand", f"it calls `rrnet {verb}`; a trial is `rrnet trial`")
    code = _code(path, document)
    if not code.is_dir():
        raise refusal_at(path, "trialCodeDirectory", f"{code} is not a folder")
    if "--images" in words:
        return None  # its images are not those of the task file
    named = [value for word, value in itertools.pairwise(words) if word == "--task"]
    named += [word.removeprefix("--task=") for word in words if word.startswith("--task=")]
    try:
        return load_task(task_named(Path(named[0]) if named else DEFAULT_TASK, code))
    except Refusal as refusal:
        raise refusal_at(path, "trialCommand", f"the task of the trials: {refusal}") from None
