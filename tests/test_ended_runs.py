"""A run of tests that is ended from outside cleans up as one that is ended from the keyboard."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

LONG = """
import os, signal, time
from pathlib import Path
def test_long():
    forked = os.fork()
    if not forked:
        time.sleep(60)
        os._exit(3)
    try:
        Path("started").write_text("")
        time.sleep(60)
    finally:
        os.kill(forked, signal.SIGTERM)
        Path("status").write_text(str(os.waitpid(forked, 0)[1]))
"""


def test_a_run_that_is_ended_lets_its_tests_clean_up_and_forked_processes_simply_end(tmp_path: Path) -> None:
    (tmp_path / "test_long.py").write_text(LONG)
    options = ["-p", "conftest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options, "test_long.py"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as run:
        while not (tmp_path / "started").exists():
            assert run.poll() is None
            time.sleep(0.05)
        run.terminate()
        assert run.wait(timeout=50) == 2, "interrupted"
    assert int((tmp_path / "status").read_text()) == signal.SIGTERM
