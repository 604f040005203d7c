"""TAB: what the shell is offered, asked in the way in which it asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.documentation.documented_commands import ROOT

SCRIPTS = Path(sys.executable).parent
#: bash's part of a completion: its own function is called as readline does, and what it found is printed.
BASH = """
eval "$("$PYTHON" -m argcomplete.scripts.register_python_argcomplete rrnet)"
COMP_LINE="rrnet sh"; COMP_POINT=8; COMP_TYPE=9; COMP_WORDS=(rrnet sh); COMP_CWORD=1
_python_argcomplete rrnet
echo "${COMPREPLY[@]}"
"""


def offered(line: str, folder: Path) -> set[str]:
    """What the command answers to a shell whose line is that, with the cursor at its end."""
    answer = folder / "answer"
    command = SCRIPTS / line.split()[0]
    asking = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"}
    environment = {**os.environ, **asking, "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    ran = subprocess.run([str(command)], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return {word.strip() for word in answer.read_text().split("\n") if word.strip()}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rrnet se", {"search"}),
        ("rrnet search --lat", {"--latency-weight"}),
        ("rrnet latency resnet1", {"resnet18"}),
        ("rrnet latency model", {"model.onnx"}),
        ("rrnet run di", {"digits"}),
        ("rrnet show resnet18 --protocol pa", {"paper"}),
        ("rrnet-2pc-compile model.onnx --device zcu104-w", {"zcu104-wan"}),
        ("rrnet-2pc-run build --protocol masked-", {"masked-dcf"}),
        ("rrnet-2pc-run build --preprocessing t", {"two-party"}),
    ],
)
def test_a_shell_is_offered_verbs_options_names_and_files(tmp_path: Path, line: str, expected: set[str]) -> None:
    (tmp_path / "model.onnx").touch()
    assert offered(line, tmp_path) == expected


def test_bash_completes_a_verb() -> None:
    environment = {**os.environ, "PYTHON": sys.executable, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(["bash", "-c", BASH], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert ran.stdout.split() == ["show"], ran.stderr
