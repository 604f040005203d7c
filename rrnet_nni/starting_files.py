"""The first two files of a newcomer: a task, and the experiment that searches it at several λ."""

from __future__ import annotations

from pathlib import Path

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import write_whole

#: Tasks of the package, by name: `examples/` beside it in a checkout, inside of it in a wheel.
PACKAGED = ("digits",)
#: The task of every verb that names none.
DEFAULT_TASK = Path("digits")
_PACKAGE = Path(__file__).parent
_EXPERIMENT = """\
# An NNI experiment: every trial searches {name}.yml at one λ and finishes the network it finds.
#   rrnet run {name}_experiment.yml
experimentName: RRNet on {name}
trialCommand: OMP_NUM_THREADS=1 rrnet trial --task {name}.yml      # two trials at a time on two cores
trialCodeDirectory: .
experimentWorkingDirectory: runs
trialConcurrency: 2
maxTrialNumber: 6
searchSpace:
  latency_weight: {{_type: loguniform, _value: [0.003, 0.3]}}     # λ in 1/ms
tuner:
  name: ParetoTuner
trainingService:
  platform: local
"""


def packaged_text(name: str) -> str | None:
    """The task file of the package that is called `name`; None where there is none."""
    return _packaged(name).read_text(encoding="utf-8") if name in PACKAGED else None


def _packaged(name: str) -> Path:
    places = [folder / "examples" / f"{name}.yml" for folder in (_PACKAGE, _PACKAGE.parent)]
    return next(place for place in places if place.is_file())


def task_named(given: Path, folder: Path = Path()) -> Path:
    """The task file that a command line in `folder` names: a file, or by its name a task of the package.

    Such a task's own file in `folder`, as `rrnet init` writes it, comes first.
    """
    path = folder / given
    if path.is_file() or str(given) not in PACKAGED:
        return path
    here = folder / f"{given}.yml"
    return here if here.is_file() else _packaged(str(given))


def write_starting_files(name: str, task: str, folder: Path) -> tuple[Path, Path]:
    """Write `NAME.yml` and `NAME_experiment.yml`; the name is letters, digits, `_`, `-` and `.`.

    Raises:
        Refusal: one of them is there.
    """
    files = folder / f"{name}.yml", folder / f"{name}_experiment.yml"
    for path in files:
        if path.exists():
            raise Refusal(f"{path} already exists: remove it, or name another folder with -o")
    write_whole(files[0], task.encode())
    write_whole(files[1], _EXPERIMENT.format(name=name).encode())
    return files


def experiment_named(given: Path) -> Path:
    """The experiment file that a command line names; for a task of the package its files are written here first."""
    if given.exists() or (text := packaged_text(str(given))) is None:
        return given
    experiment = Path(f"{given}_experiment.yml")
    return experiment if experiment.is_file() else write_starting_files(str(given), text, Path())[1]
