"""Every fault of security in the list is noticed by the test that it names."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import MUTATIONS

TREE = Path(__file__).parents[2]
#: Packages beside `rrnet_nni` that the two-party code needs.
PACKAGES = ("fpga",)
#: Runs the named test on the copy, and only on the copy; a failed test and nothing else ends with status 1.
DRIVER = """
import sys, pytest, rrnet_nni.fpga
assert rrnet_nni.fpga.__file__.startswith(sys.argv[1]), rrnet_nni.fpga.__file__
sys.exit(pytest.main([*sys.argv[2:], "--noconftest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]))
"""
#: Quick ones, of what is opened and of the link.
SMALL = ("two levels of an AND tree are opened under one mask", "the server's side of TLS verifies nobody")


def copy_package(root):
    """The package as it is, in `root`, where edits do no harm."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(TREE / "rrnet_nni", root / "rrnet_nni", ignore=ignored)
    for name in PACKAGES:
        shutil.copytree(TREE / name, root / "rrnet_nni" / name, ignore=ignored)
    return root


@pytest.fixture(scope="session")
def copy(tmp_path_factory):
    return copy_package(tmp_path_factory.mktemp("scratch"))


def run_test(copy, test):
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-P", "-c", DRIVER, str(copy), test]
    return subprocess.run(arguments, cwd=TREE, env=environment, capture_output=True, text=True, timeout=300)


def check_caught(copy, mutation):
    originals = {}
    try:
        for edit in mutation.edits:
            path = copy / "rrnet_nni" / edit.file
            text = path.read_text()
            originals.setdefault(path, text)
            path.write_text(text.replace(edit.old, edit.new))
        done = run_test(copy, mutation.test)
    finally:
        for path, text in originals.items():
            path.write_text(text)
    name = mutation.test.partition("::")[2]
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"^FAILED .*::{name}", done.stdout, re.MULTILINE), done.stdout
    # the fault must be seen by what is asserted, not by code that the edit broke
    assert re.search(r"^E +(assert|AssertionError|Failed: DID NOT RAISE)", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_named_test_notices(copy, mutation):
    check_caught(copy, mutation)


@pytest.mark.parametrize(
    "mutation", [each for each in MUTATIONS if each.name in SMALL], ids=lambda mutation: mutation.name
)
def test_some_faults_are_noticed_every_time(copy, mutation):
    check_caught(copy, mutation)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_fault_still_has_its_place_and_its_test_and_that_test_always_runs(mutation):
    for edit in mutation.edits:
        assert (TREE / edit.file).read_text().count(edit.old) == 1, edit
        assert edit.old != edit.new
    file, _, name = mutation.test.partition("::")
    source = (TREE / file).read_text()
    above, found, _ = source.partition(f"\ndef {name}(")
    assert found
    assert "slow" not in above[above.rfind("\n\n\n") :]


@pytest.mark.slow
def test_without_a_fault_every_named_test_passes(copy):
    for test in sorted({mutation.test for mutation in MUTATIONS}):
        done = run_test(copy, test)
        assert done.returncode == 0, done.stdout + done.stderr
