"""Does the machine have what trials need around them: room, images, ports, a GPU, a door for the manager?"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from rrnet_nni.base.caches import cache_folder
from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.images.check import check_data

from ..task import Task
from .finding import Finding

#: What an experiment and its result need at least.
LEAST_FREE_BYTES = 1 << 30
#: Where NNI keeps what it writes on a machine of an experiment: its own, fixed choice.
WORKER_FOLDER = Path("~/nni-experiments")
_SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")


def folder(subject: str, path: Path, variable: str | None = None) -> Finding:
    """Can this folder be written, and is there room?"""
    place = next(parent for parent in (path, *path.parents) if parent.exists())
    instead = f", or name another one with {variable}" if variable else ""
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Finding(subject, f"{place} cannot be written ({error.strerror})", f"make it writable{instead}")
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        wanted = f"{LEAST_FREE_BYTES >> 20} MB"
        return Finding(subject, f"{place} has {free >> 20} MB free", f"make room for {wanted}{instead}")
    return Finding(subject, f"{place} has {free >> 30} GB free")


def cache() -> Finding:
    return folder("cache", cache_folder(), "RRNET_CACHE")


def images(task: Task) -> Finding:
    """Are the images of the task here, and can they be decoded?"""
    try:
        check_data(task.data)
    except Refusal as refusal:
        mend = "bring them here, or name where they are in the task file's data.root"
        return Finding("images", str(refusal), mend)
    return Finding("images", f"those of task {task.name} are here ({task.data.name})")


def port(number: int) -> Finding:
    """Can NNI's manager listen on the loopback interface (on any port where `number` is 0)?"""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            mend = (
                "end what listens there, or take another port"
                if number
                else "bring up the interface: ip link set lo up"
            )
            return Finding("port", f"127.0.0.1:{number} cannot be listened on ({error.strerror})", mend)
    return Finding("port", f"127.0.0.1:{number} is free" if number else "the loopback interface has free ports")


def gpus(wanted: int) -> Finding:
    """Does the driver show as many GPUs as a trial shall have?"""
    found = _gpus()
    if found < wanted:
        mend = "set trialGpuNumber to what there is, or install the driver (nvidia-smi must list the GPUs)"
        return Finding("GPU", f"a trial shall have {wanted}, and nvidia-smi lists {found}", mend)
    return Finding("GPU", f"nvidia-smi lists {found}" if found else "none, and none is asked for")


def _gpus() -> int:
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines()) if listed.returncode == 0 else 0


def ssh_server(number: int) -> Finding:
    """Does an ssh server listen here, and can it serve files? A machine of an experiment needs both."""
    try:
        with socket.create_connection(("127.0.0.1", number), timeout=10) as door:
            greeting = door.recv(64)
    except OSError as error:
        mend = "install and start one (apt install openssh-server), or name its port with --ssh-port"
        return Finding("ssh server", f"nothing answers on port {number} ({error.strerror or error})", mend)
    if not greeting.startswith(b"SSH-2.0"):
        return Finding("ssh server", f"port {number} answers, but not as ssh does", "name its port with --ssh-port")
    if not any(Path(server).is_file() for server in _SFTP_SERVERS) and not shutil.which("sftp-server"):
        return Finding("ssh server", "it has no sftp-server", "install one: apt install openssh-sftp-server")
    return Finding("ssh server", f"{greeting.split()[0].decode(errors='replace')} answers on port {number}")


def working_folder(worker: bool) -> Path:
    """Where trials write here."""
    return WORKER_FOLDER.expanduser() if worker else Path(os.getcwd())
