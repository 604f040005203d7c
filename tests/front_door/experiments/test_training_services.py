"""Where trials run is checked before NNI starts anything; the keys are NNI's own."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from rrnet_nni.base.errors import Refusal
from rrnet_nni.experiments import experiment_file
from rrnet_nni.experiments.experiment_file import check_before_trials, read_experiment
from rrnet_nni.experiments.training_services import KubeflowRole, KubeflowService, LocalService, Machine, RemoteService

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """The example, its key made."""
    (tmp_path / "key").touch()
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote" / "task.yml").write_text((EXAMPLES / "remote" / "task.yml").read_text())
    text = (EXAMPLES / "remote_experiment.yml").read_text()
    (tmp_path / "experiment.yml").write_text(text.replace("~/.ssh/id_ed25519", str(tmp_path / "key")))
    return tmp_path / "experiment.yml"


def test_the_example_is_read_and_its_images_are_not_looked_for_here(remote: Path) -> None:
    read = read_experiment(remote)
    assert read.elsewhere
    assert read.code == remote.parent / "remote"
    assert read.task is not None
    assert read.task.data.root == "/data/cifar10"
    check_before_trials(read)


@pytest.mark.parametrize(
    ("written", "instead", "words"),
    [
        ("platform: remote", "platform: remot", "platform 'remot'; there are local, remote, kubeflow"),
        ("user: me", "usr: me", "unknown key 'machineList[0].usr'; did you mean 'user'?"),
        ("user: me", "password: secret\n      user: me", "'machineList[0].password' must be null"),
        ("host: gpu2", "host: gpu1", "machineList names gpu1.example.org:22 twice"),
        ("pythonPath: /home/me/rrnet/.venv/bin", "pythonPath: python", "the folder that holds python and rrnet there"),
        ("user: me", "port: 70000\n      user: me", "'machineList[0].port' must be at most 65535"),
        ("platform: remote", "platform: remote\n  reuseMode: true", "reuseMode"),
        ("# maxTrialNumberPerGpu: 2", "maxTrialNumberPerGpu: 2", "needs trialGpuNumber"),
        ("# trialGpuNumber: 1", "trialGpuNumber: -1", "'trialGpuNumber' must be at least 0"),
    ],
)
def test_what_no_remote_experiment_can_have_is_refused(remote: Path, written: str, instead: str, words: str) -> None:
    text = remote.read_text()
    assert written in text
    remote.write_text(text.replace(written, instead, 1))
    with pytest.raises(Refusal) as caught:
        read_experiment(remote)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{remote}:")
    assert "\n" not in str(caught.value)


def test_a_key_that_is_not_there_is_refused(remote: Path) -> None:
    (remote.parent / "key").unlink()
    with pytest.raises(Refusal, match=r"sshKeyFile .*key is not a file; make one with ssh-keygen"):
        read_experiment(remote)


def test_a_code_folder_that_nni_would_not_bring_is_refused(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = read_experiment(remote)
    monkeypatch.setattr(experiment_file, "MOST_FILES", 0)
    with pytest.raises(Refusal, match=r"trialCodeDirectory: .*remote holds 1 files .* a folder of its own"):
        check_before_trials(read)


def test_images_of_the_code_folder_are_looked_for_here(remote: Path) -> None:
    (remote.parent / "remote" / "task.yml").write_text("backbone: resnet8\ndata: {name: folder, root: pets}\n")
    with pytest.raises(Refusal, match="pets"):
        check_before_trials(read_experiment(remote))


def test_the_kubernetes_example_is_right_for_us_and_for_nni() -> None:
    from nni.experiment.config import ExperimentConfig

    assert read_experiment(EXAMPLES / "kubeflow_experiment.yml").elsewhere
    config = ExperimentConfig.load(EXAMPLES / "kubeflow_experiment.yml")
    config.validate()
    document = yaml.safe_load((EXAMPLES / "kubeflow_experiment.yml").read_text())
    assert config.training_service.master.memory_size == document["trainingService"]["master"]["memorySize"]


def test_the_known_keys_are_those_of_nni() -> None:
    from nni.experiment.config import KubeflowConfig, KubeflowRoleConfig, LocalConfig, RemoteConfig, RemoteMachineConfig

    def camel(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(word.capitalize() for word in rest)

    pairs = (
        (LocalService, LocalConfig),
        (RemoteService, RemoteConfig),
        (Machine, RemoteMachineConfig),
        (KubeflowService, KubeflowConfig),
        (KubeflowRole, KubeflowRoleConfig),
    )
    for ours, theirs in pairs:
        known = {camel(item.name) for item in fields(theirs) if not item.name.startswith("_")}
        assert {item.name for item in fields(ours)} == known, ours
