"""Prepared faults of a machine: each is named in one sentence, with what to do about it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.processes import rrnet_in_a_new_process

from rrnet_nni.cli import main
from rrnet_nni.evaluators.options import DataOptions
from rrnet_nni.machines import software, surroundings
from rrnet_nni.machines.checkup import Needs, checkup
from rrnet_nni.machines.finding import Finding
from rrnet_nni.task import Task


def assert_fault(finding: Finding, subject: str, sentence: str, mend: str) -> None:
    """One sentence, about the right thing, with its mend."""
    assert finding.subject == subject
    assert sentence in finding.sentence
    assert finding.mend is not None
    assert mend in finding.mend
    assert "\n" not in str(finding)


def installed(folder: Path, name: str, version: str, *requirements: str) -> None:
    """Make a distribution that Python's metadata finds below `folder`."""
    place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Requires-Python: >=3.11"]
    place.joinpath("METADATA").write_text(
        "\n".join([*lines, *(f"Requires-Dist: {one}" for one in requirements)]) + "\n"
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes before all others on the path of this process and its children."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    for package in ("nni_node", "pkg_resources"):  # which another test may have imported
        monkeypatch.delitem(sys.modules, package, raising=False)
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the path for commands."""
    (tmp_path / "tools").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "tools"))
    monkeypatch.setenv("RRNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    return tmp_path / "tools"


def command(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!{shutil.which('sh', path='/bin:/usr/bin')}\n{script}\n")
    (folder / name).chmod(0o755)


def test_1_a_python_that_is_too_old() -> None:
    assert_fault(software.python((3, 9)), "python", "3.9 is not >=3.11", "Python >=3.11")


def test_2_a_package_that_is_not_installed(site: Path) -> None:
    installed(site, "rrnet-nni", "0.1.0", "numpy", "never-installed>=2; extra == 'search'")
    (fault,) = software.packages()
    assert_fault(fault, "package never-installed", "not installed", "pip install 'never-installed>=2'")


def test_3_a_package_whose_version_does_not_work(site: Path) -> None:
    installed(site, "setuptools", "84.0.0")
    faults = [finding for finding in software.packages() if finding.is_fault]
    assert [fault.subject for fault in faults] == ["package setuptools"]
    assert_fault(faults[0], "package setuptools", "84.0.0 does not work here", "pip install 'setuptools<82,>=77'")


def test_4_a_torch_that_does_not_start(site: Path) -> None:
    (site / "torch").mkdir()
    (site / "torch/__init__.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    assert_fault(software.torch(), "torch", "libcudart.so.12", "a torchvision that belong together")


def test_5_no_compiler(tools: Path, tmp_path: Path) -> None:
    assert_fault(software.compiler(tmp_path), "compiler", "no C compiler", "install gcc or clang")


def test_6_a_compiler_that_fails(tools: Path, tmp_path: Path) -> None:
    command(tools, "cc", '[ "$1" = --version ] && echo cc 1.0 || exit 1')
    assert_fault(software.compiler(tmp_path), "compiler", "cannot compile", "name a compiler with CC")


def test_7_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 10, 5 << 20))
    assert_fault(surroundings.folder("disk", tmp_path / "absent"), "disk", "has 5 MB free", "make room for 1024 MB")


def test_8_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RRNET_CACHE", str(tmp_path / "file" / "cache"))
    assert_fault(surroundings.cache(), "cache", "file cannot be written (Not a directory)", "with RRNET_CACHE")


def test_9_images_that_are_elsewhere(tmp_path: Path) -> None:
    task = Task("resnet8", DataOptions("folder", root=str(tmp_path / "pets")))
    assert_fault(surroundings.images(task), "images", "pets", "data.root")


def test_10_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        assert_fault(surroundings.port(number), "port", f"127.0.0.1:{number} cannot", "end what listens there")
    assert not surroundings.port(0).is_fault


def test_11_an_nni_whose_node_does_not_start(site: Path) -> None:
    (site / "nni_node").mkdir()
    (site / "nni_node/__init__.py").write_text("")
    command(site / "nni_node", "node", "echo 'GLIBC_2.28 not found' >&2; exit 1")
    fault = software.manager()
    assert_fault(fault, "NNI", "GLIBC_2.28 not found", "rrnet search --many")
    (site / "nni_node/node").chmod(0o644)
    assert_fault(software.manager(), "NNI", "Permission denied", "nni==3.0")


def test_12_a_gpu_that_is_not_there(tools: Path) -> None:
    assert_fault(surroundings.gpus(1), "GPU", "shall have 1, and nvidia-smi lists 0", "trialGpuNumber")
    command(tools, "nvidia-smi", "echo 'GPU 0: H200 (UUID: GPU-1)'")
    assert not surroundings.gpus(1).is_fault
    assert surroundings.gpus(2).is_fault


def answering(words: bytes) -> Iterator[int]:
    """A server on the loopback interface that greets one guest."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            guest, _ = server.accept()
            with guest:
                guest.sendall(words)

        threading.Thread(target=greet, daemon=True).start()
        yield server.getsockname()[1]


def test_13_a_worker_without_an_ssh_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        number = closed.getsockname()[1]
    assert_fault(surroundings.ssh_server(number), "ssh server", f"nothing answers on port {number}", "openssh-server")
    for number in answering(b"HTTP/1.1 400\r\n"):
        assert_fault(surroundings.ssh_server(number), "ssh server", "not as ssh does", "--ssh-port")


def test_14_an_ssh_server_that_cannot_serve_files(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_SFTP_SERVERS", ())
    for number in answering(b"SSH-2.0-test\r\n"):
        assert_fault(surroundings.ssh_server(number), "ssh server", "no sftp-server", "openssh-sftp-server")
    command(tools, "sftp-server", "")
    for number in answering(b"SSH-2.0-test\r\n"):
        assert not surroundings.ssh_server(number).is_fault


def test_the_command_finds_faults_without_torch_and_says_so_in_its_status(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "torch").mkdir()
    (site / "torch/__init__.py").write_text("raise OSError('no libcudart')")
    assert main(["doctor", "--task", "digits", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert not answer["ok"]
    faults = [finding for finding in answer["findings"] if not finding["ok"]]
    assert [(fault["subject"], fault["says"]) for fault in faults] == [
        ("torch", "it does not start: OSError: no libcudart")
    ]
    assert {finding["subject"] for finding in answer["findings"]} >= {"python", "packages", "disk", "images", "NNI"}


def test_looking_at_a_machine_imports_nothing_heavy(tmp_path: Path) -> None:
    ran = rrnet_in_a_new_process(["doctor", "--task", "absent.yml"], tmp_path)
    assert (ran.status, ran.heavy) == (2, []), ran.said
    assert main(["doctor", "--gpus", "-1"]) == 2
    assert main(["doctor", "--port", "70000"]) == 2


@pytest.mark.slow
def test_a_machine_that_runs_these_tests_can_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    faults = [str(finding) for finding in checkup(Needs()) if finding.is_fault]
    assert faults == [] or os.environ.get("RRNET_RING_BACKEND") == "limbs", sys.executable
