"""Hosts on this machine that a manager reaches over ssh: namespaces of their own for the network, processes, mounts
and the name, a real sshd in each. Killing a host kills everything in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SSHD = "/usr/sbin/sshd"
_CONFIGURATION = """\
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
Subsystem sftp internal-sftp
# A home of its own, so that hosts share nothing but what is installed.
SetEnv HOME={folder}/home
"""
_BOOT = """\
ip link set lo up
hostname {name}
mkdir -p /run/sshd
exec {sshd} -D -e -f {folder}/sshd_config
"""


def why_not() -> str | None:
    """Why hosts cannot be made here; None where they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts are namespaces, which only root can make on Linux"
    missing = [tool for tool in ("ip", "unshare", "setpriv", "ssh-keygen", SSHD) if not shutil.which(tool)]
    if missing:
        return f"hosts need {', '.join(missing)}"
    tried = subprocess.run(["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "true"], capture_output=True)
    return None if tried.returncode == 0 else f"no namespaces can be made here: {tried.stderr.decode().strip()}"


@dataclass
class Host:
    name: str
    address: str
    folder: Path
    namespace: str
    core: int | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def boot(self) -> None:
        script = _BOOT.format(folder=self.folder, name=self.name, sshd=SSHD)
        own = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]
        # The host ends with the run of tests, also with one that is killed.
        tied = ["setpriv", "--pdeathsig", "KILL"]
        pinned = [] if self.core is None else ["taskset", "--cpu-list", str(self.core)]
        with (self.folder / "sshd.log").open("ab") as log:
            command = ["ip", "netns", "exec", self.namespace, *pinned, *tied, *own]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        """As if somebody pulled the plug."""
        assert self.process is not None
        # Nothing says goodbye: the link is cut first.
        subprocess.run(["ip", "-n", self.namespace, "link", "set", "eth0", "down"], check=True)
        self.process.kill()
        self.process.wait()

    @property
    def home(self) -> Path:
        return self.folder / "home"


@dataclass
class Hosts:
    """A manager's place and its hosts."""

    folder: Path
    namespace: str
    hosts: list[Host]

    @property
    def key(self) -> Path:
        return self.folder / "key"

    def command(self, words: Sequence[str]) -> list[str]:
        """A command line, in the manager's place."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "HOME": str(self.folder / "manager"), "RRNET_CACHE": str(self.folder / "manager/cache")}

    def machine_list(self) -> list[dict[str, object]]:
        shared = {"user": "root", "sshKeyFile": str(self.key), "pythonPath": str(Path(sys.executable).parent)}
        return [{"host": host.address, **shared} for host in self.hosts]


@contextlib.contextmanager
def hosts_of_a_manager(
    folder: Path, names: Sequence[str], cores: Sequence[int | None] | None = None
) -> Iterator[Hosts]:
    """Boot hosts; they and everything in them end with the block."""
    tag = f"rr{os.getpid() % 10000}"
    (folder / "manager" / ".ssh").mkdir(parents=True)
    manager = f"{tag}m"
    made: list[str] = []
    booted: list[Host] = []
    try:
        _run("ip", "netns", "add", manager)
        made.append(manager)
        _run("ip", "-n", manager, "link", "set", "lo", "up")
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key"))
        for number, name in enumerate(names):
            namespace, subnet = f"{tag}h{number}", f"10.213.{number}"
            _run("ip", "netns", "add", namespace)
            made.append(namespace)
            _run(*f"ip -n {manager} link add m{number} type veth peer name eth0 netns {namespace}".split())
            _run(*f"ip -n {manager} addr add {subnet}.1/24 dev m{number}".split())
            _run(*f"ip -n {manager} link set m{number} up".split())
            _run(*f"ip -n {namespace} addr add {subnet}.2/24 dev eth0".split())
            _run(*f"ip -n {namespace} link set eth0 up".split())
            host = Host(name, f"{subnet}.2", folder / name, namespace, cores[number] if cores else None)
            _furnish(host, folder)
            host.boot()
            booted.append(host)
        hosts = Hosts(folder, manager, booted)
        for host in booted:
            _await(hosts, host)
        yield hosts
    finally:
        for host in booted:
            if host.process is not None and host.process.poll() is None:
                host.process.kill()
                host.process.wait()
        for namespace in made:
            left = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
            for pid in map(int, left.stdout.split()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", namespace], check=False)


def _furnish(host: Host, folder: Path) -> None:
    host.home.mkdir(parents=True)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host.folder / "host_key"))
    shutil.copyfile(folder / "key.pub", host.folder / "authorized_keys")
    (host.folder / "sshd_config").write_text(_CONFIGURATION.format(folder=host.folder))
    with (folder / "manager" / ".ssh" / "known_hosts").open("a") as known:
        kind, key, *_ = (host.folder / "host_key.pub").read_text().split()
        known.write(f"{host.address} {kind} {key}\n")


def _await(hosts: Hosts, host: Host) -> None:
    probe = f"import socket; socket.create_connection(({host.address!r}, 22), timeout=1).close()"
    for _ in range(100):
        if subprocess.run(hosts.command([sys.executable, "-c", probe]), capture_output=True).returncode == 0:
            return
        time.sleep(0.2)
    raise RuntimeError(f"{host.name} does not answer: {(host.folder / 'sshd.log').read_text()}")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
