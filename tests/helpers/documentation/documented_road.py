"""A folder like a reader's, in which documented commands run as they are printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: Commands that the road leaves out, and the tests (or the file) in which each is run.
ELSEWHERE = {
    r"make run|NODE_OPTIONS": "tests/front_door/experiments/test_experiment.py",
    r"make serve": "tests/fpga/runtime/service/web/test_page.py",
    r"make test": ".ci/run",
    r"make csim": "tests/fpga/hls/test_accelerator_simulation.py",
    r"\. \.venv": "Makefile",
    r"eval": "tests/base/test_completion.py",
    r"pip install": "tests/front_door/test_light_install.py",
    r"rrnet doctor": "tests/front_door/machines/test_doctor.py",
    r"rrnet-2pc-deal|rrnet-2pc-serve .*--dealer": "tests/fpga/runtime/service/test_deal.py",
    r"rrnet-2pc-serve .*--direct|.*--connect one\.example": "tests/fpga/runtime/service/test_direct.py",
    r"rrnet-2pc-serve": "tests/fpga/runtime/service/test_service.py",
}


def run_elsewhere(command: str) -> str | None:
    """Where a command is run that the road leaves out; None for one that it runs."""
    return next((place for pattern, place in ELSEWHERE.items() if re.match(pattern, command)), None)


class Road:
    """Runs commands in `folder`; those that name another machine run as two, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.client = folder, folder / "client"
        scripts = Path(sys.executable).parent
        self.environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
        self._waiting: tuple[str, subprocess.Popen[str]] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    def walk(self, commands: Sequence[str]) -> dict[str, int | None]:
        """Run commands in their order; returns the status of each: None of one that listens and that nobody met.

        Raises:
            AssertionError: one ended with another status than 0; with its words.
        """
        statuses: dict[str, int | None] = {}
        for command in commands:
            statuses[command] = None
            if "--listen" in command:
                here = re.sub(r"0\.0\.0\.0:\d+", f"127.0.0.1:{self._port}", command)
                self._meet()
                party = subprocess.Popen(
                    ["bash", "-c", here], cwd=self.folder, env=self.environment, text=True, stderr=subprocess.PIPE
                )
                self._waiting = command, party
                continue
            if "--connect" in command:
                shutil.copy(self.folder / "images.npy", self.client)
                self.run(re.sub(r"--connect \S+", f"--connect 127.0.0.1:{self._port}", command), self.client)
                assert self._waiting is not None
                listening, party = self._waiting
                said = party.communicate(timeout=60)[1]
                statuses[listening] = party.returncode
                assert party.returncode == 0, f"{listening}\n{said}"
            elif command.startswith("rrnet-2pc-certificates") and "--peer" in command:
                self._pin(command)
            else:
                self.run(command.replace("NAME", self._convolution()) if "NAME" in command else command)
            statuses[command] = 0
        return statuses

    def run(self, command: str, folder: Path | None = None) -> str:
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=folder or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout[-1000:]}\n{ran.stderr[-2000:]}"
        return ran.stdout

    def _meet(self) -> None:
        """What the client has before it connects: its part of the build, and of the material."""
        shutil.rmtree(self.client / "build", ignore_errors=True)
        shutil.copytree(self.folder / "build" / "client", self.client / "build")
        (self.client / "build.material").mkdir(exist_ok=True)
        (self.folder / "build.material" / "party-0").rename(self.client / "build.material" / "party-0")

    def _pin(self, command: str) -> None:
        """Both hosts pin each other: the server's key is there, the client's is made as the page says, likewise."""
        self.client.mkdir()
        told = self.run("rrnet-2pc-certificates keys/ --party 0", self.client).split()[-1]
        shutil.copy(self.client / "keys" / "certificate.pem", self.folder / "client.pem")
        self.run(command.replace("91bc...", told))
        shutil.copy(self.folder / "keys" / "certificate.pem", self.client / "client.pem")
        own = self.run("openssl x509 -in keys/certificate.pem -noout -fingerprint -sha256").split("=")[-1].strip()
        self.run(command.replace("91bc...", own.replace(":", "").lower()), self.client)

    def _convolution(self) -> str:
        """The first convolution of the build that lies there now."""
        report = json.loads((self.folder / "build" / "report.json").read_text())
        return next(str(row["operation"]) for row in report["traffic"] if row["kind"] == "conv")
