"""An NNI experiment file whose trials are `rrnet trial`: read, and checked before anything starts."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.images.check import check_data
from rrnet_nni.strategies.pareto_arguments import TunerArguments

from ..starting_files import DEFAULT_TASK, task_named
from ..task import Task, load_task
from .tuners import OUR_TUNER, known_tuners, register_tuner

#: Top-level keys of NNI's experiments on this machine.
KNOWN_KEYS = (
    *("experimentName", "experimentType", "searchSpaceFile", "searchSpace", "trialCommand", "trialCodeDirectory"),
    *("trialConcurrency", "trialGpuNumber", "maxExperimentDuration", "maxTrialNumber", "maxTrialDuration"),
    *("nniManagerIp", "useAnnotation", "debug", "logLevel", "experimentWorkingDirectory", "tunerGpuIndices"),
    *("tuner", "assessor", "advisor", "trainingService", "sharedStorage"),
)
NEEDED_KEYS = ("trialCommand", "trialConcurrency", "trainingService")
COUNTS = ("trialConcurrency", "maxTrialNumber")
#: What an experiment and its result need at least.
LEAST_FREE_BYTES = 1 << 30


@dataclass(frozen=True)
class ExperimentFile:
    """What the main job needs of an experiment file.

    Attributes:
        directory: where NNI keeps its experiments.
        tuner: the name of its tuner; empty where there is none.
        task: the task of its trials; None where they run something else than `rrnet trial`.
    """

    path: Path
    directory: Path
    tuner: str
    task: Task | None


def read_experiment(path: Path) -> ExperimentFile:
    """Read an experiment file and the task file of its trials.

    Raises:
        Refusal: the file is missing, no YAML, or has an unknown, missing or impossible key; its task file has; or the
            tuner would refuse its arguments, which NNI would notice when the experiment runs.
    """
    text = _text(path)
    document = _document(path, text)
    for key in document:
        if key not in KNOWN_KEYS:
            close = get_close_matches(str(key), KNOWN_KEYS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(KNOWN_KEYS)}"
            raise Refusal(f"{path}{_line(text, key)}: unknown key {key!r}; {hint}")
    for key in NEEDED_KEYS:
        if key not in document:
            raise Refusal(f"{path}: the key {key!r} is missing")
    for key in COUNTS:
        value = document.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise Refusal(f"{path}{_line(text, key)}: {key} must be a positive whole number, not {value!r}")
    service = document["trainingService"]
    if not isinstance(service, dict | list) or (isinstance(service, dict) and not service.get("platform")):
        raise Refusal(f"{path}{_line(text, 'trainingService')}: trainingService must name a platform, such as local")
    task = _task(path, text, document)
    tuner = document.get("tuner")
    if tuner is not None and (not isinstance(tuner, dict) or not (tuner.get("name") or tuner.get("className"))):
        raise Refusal(f"{path}{_line(text, 'tuner')}: tuner must be a mapping with a name, such as {OUR_TUNER}")
    _check_tuner(path, document)
    directory = Path(str(document.get("experimentWorkingDirectory", "~/nni-experiments"))).expanduser()
    name = str((tuner or {}).get("name", ""))
    return ExperimentFile(path, (path.resolve().parent / directory).resolve(), name, task)


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
    if experiment.task is not None:
        check_data(experiment.task.data)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Refusal(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: not a readable YAML file ({error})") from None


def _document(path: Path, text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Refusal(f"{path}: not a readable YAML file ({' '.join(str(error).split())})") from None
    if not isinstance(document, dict):
        raise Refusal(f"{path}: not an NNI experiment file")
    return document


def _line(text: str, key: object) -> str:
    """`:N`, where a top-level key stands."""
    found = re.search(rf"^{re.escape(str(key))}\s*:", text, re.MULTILINE)
    return f":{text.count(chr(10), 0, found.start()) + 1}" if found else ""


def _task(path: Path, text: str, document: Mapping[str, Any]) -> Task | None:
    """The task that the trial's command names."""
    where = f"{path}{_line(text, 'trialCommand')}"
    try:
        words = shlex.split(str(document["trialCommand"]))
    except ValueError as error:
        raise Refusal(f"{where}: trialCommand: {error}") from None
    commands = [index for index, word in enumerate(words[:-1]) if Path(word).name == "rrnet"]
    if not commands:
        return None
    if words[commands[0] + 1] != "trial":
        raise Refusal(f"{where}: trialCommand calls `rrnet {words[commands[0] + 1]}`; a trial is `rrnet trial`")
    code = (path.resolve().parent / str(document.get("trialCodeDirectory", "."))).resolve()
    if not code.is_dir():
        raise Refusal(f"{path}{_line(text, 'trialCodeDirectory')}: trialCodeDirectory {code} is not a folder")
    if "--images" in words:
        return None  # its images are not those of the task file
    named = [value for word, value in itertools.pairwise(words) if word == "--task"]
    named += [word.removeprefix("--task=") for word in words if word.startswith("--task=")]
    try:
        return load_task(task_named(Path(named[0]) if named else DEFAULT_TASK, code))
    except Refusal as refusal:
        raise Refusal(f"{where}: the task of the trials: {refusal}") from None


def _check_tuner(path: Path, document: Mapping[str, Any]) -> None:
    tuner = document.get("tuner")
    if isinstance(tuner, dict) and tuner.get("name") == OUR_TUNER:
        try:
            arguments = TunerArguments.of(tuner.get("classArgs"))
            if document.get("searchSpace") is not None:  # the file may name another one for it
                arguments.within(document["searchSpace"])
        except Refusal as refusal:
            raise Refusal(f"{path}: {refusal}") from None
