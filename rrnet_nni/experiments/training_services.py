"""Where trials run: the keys of NNI's training services as NNI spells them, checked before it starts one.

Run here: on this machine and on others over ssh. Kubernetes is checked as far as it can be without a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MinLen

from rrnet_nni.base.settings import Count, Mistake, Natural, WrongSetting, checked

Port = Annotated[int, Ge(1), Le(65535)]
GpuIndices = list[Natural] | Natural | str


@dataclass(frozen=True, kw_only=True)
class Service:
    """What every training service takes; NNI fills these in from the experiment's own keys where they are absent."""

    trialCommand: str | None = None
    trialCodeDirectory: str | None = None
    trialGpuNumber: Natural | None = None
    nniManagerIp: str | None = None
    debug: bool | None = None


@dataclass(frozen=True, kw_only=True)
class LocalService(Service):
    platform: Literal["local"]
    useActiveGpu: bool | None = None
    maxTrialNumberPerGpu: Count = 1
    gpuIndices: GpuIndices | None = None
    reuseMode: bool = False


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine of a remote experiment. Its key must be in the manager's `~/.ssh/known_hosts`."""

    host: str
    user: str
    pythonPath: str
    port: Port = 22
    sshKeyFile: str = "~/.ssh/id_rsa"
    sshPassphrase: str | None = None
    useActiveGpu: bool = False
    maxTrialNumberPerGpu: Count = 1
    gpuIndices: GpuIndices | None = None
    password: None = None

    def __post_init__(self) -> None:
        if not Path(self.pythonPath).is_absolute():
            wanted = "the folder that holds python and rrnet there, such as /home/me/venv/bin"
            raise WrongSetting(f"pythonPath must be {wanted}, not {self.pythonPath}")
        if not Path(self.sshKeyFile).expanduser().is_file():
            raise WrongSetting(f"sshKeyFile {self.sshKeyFile} is not a file; make one with ssh-keygen")


@dataclass(frozen=True, kw_only=True)
class RemoteService(Service):
    platform: Literal["remote"]
    machineList: Annotated[list[Machine], MinLen(1)]
    reuseMode: Literal[False] = False

    def __post_init__(self) -> None:
        places = [(machine.host, machine.port) for machine in self.machineList]
        if twice := next((place for place in places if places.count(place) > 1), None):
            raise WrongSetting(f"machineList names {twice[0]}:{twice[1]} twice")
        if not self.trialGpuNumber and any(machine.maxTrialNumberPerGpu != 1 for machine in self.machineList):
            raise WrongSetting("machineList has a maxTrialNumberPerGpu, which needs trialGpuNumber")


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A folder that the cluster's pods and the manager share."""

    storageType: Literal["nfs", "azureStorage"]
    server: str | None = None
    path: str | None = None
    azureAccount: str | None = None
    azureShare: str | None = None
    keyVaultName: str | None = None
    keyVaultKey: str | None = None

    def __post_init__(self) -> None:
        needed = ("server", "path") if self.storageType == "nfs" else ("azureAccount", "azureShare")
        for name in needed:
            if getattr(self, name) is None:
                raise WrongSetting(f"storageType {self.storageType} needs {name}")


@dataclass(frozen=True, kw_only=True)
class KubeflowRole:
    command: str
    codeDirectory: str
    cpuNumber: Count
    memorySize: str | int
    dockerImage: str
    replicas: Count = 1
    gpuNumber: Natural = 0


@dataclass(frozen=True, kw_only=True)
class KubeflowService(Service):
    """Not run: there was no cluster. The image must hold rrnet-nni[search] in the manager's version."""

    platform: Literal["kubeflow"]
    operator: Literal["pytorch-operator", "tf-operator"]
    apiVersion: str
    storage: Storage
    worker: KubeflowRole | None = None
    ps: KubeflowRole | None = None
    master: KubeflowRole | None = None
    reuseMode: bool = True
    namespace: str = "default"

    def __post_init__(self) -> None:
        wanted = "master" if self.operator == "pytorch-operator" else "worker"
        if getattr(self, wanted) is None:
            raise WrongSetting(f"operator {self.operator} needs a {wanted}")


SERVICES: Mapping[str, type[Service]] = {
    "local": LocalService,
    "remote": RemoteService,
    "kubeflow": KubeflowService,
}


def training_service(document: Any, gpus: Any = None) -> Service:
    """The service that `trainingService` of an experiment file describes, its `trialGpuNumber` included.

    Raises:
        WrongSetting: naming the key.
    """
    platform = document.get("platform") if isinstance(document, Mapping) else None
    if not platform:
        raise WrongSetting("trainingService must name a platform, such as local")
    if platform not in SERVICES:
        raise WrongSetting(f"trainingService has the platform {platform!r:.60}; there are {', '.join(SERVICES)}")
    if gpus is not None:
        document = {"trialGpuNumber": gpus, **document}
    try:
        return checked(document, SERVICES[platform])
    except Mistake as mistake:
        raise WrongSetting(f"trainingService: {mistake}") from None
