"""The service's commands: what they refuse, and what a client file needs."""

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.networks.small_programs import digits_network
from helpers.parties.served import PROTOCOL, write_digits_sized_build

from rrnet_nni.fpga.program import ARGMAX
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.runtime.service import client
from rrnet_nni.fpga.runtime.service.peers.filling import FIRST_COUNT, Marks
from rrnet_nni.fpga.runtime.service.serve import main
from rrnet_nni.fpga.runtime.service.top import main as top

PARTY_0 = "--party", "0", "--connect", "127.0.0.1:7", "--http", "127.0.0.1:8"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--party", "0", "--listen", "127.0.0.1:7", "--http", "127.0.0.1:8"), "party 1 waits"),
        (("--party", "1", "--listen", "0.0.0.0:7", "--http", "127.0.0.1:8"), "another machine: --tls"),
        (("--party", "1", "--listen", "127.0.0.1:7", "--http", "0.0.0.0:8"), "need HTTPS"),
        (("--party", "1"), "needs --http ADDRESS"),
        ((*PARTY_0, "--http-key", "key.pem"), "belong together"),
        ((*PARTY_0, "--protocol", "paper"), "cannot be executed"),
        ((*PARTY_0, "--protocol", "nonsense"), "nonsense"),
        (("--http", "127.0.0.1:8"), "belong to one party's server"),
        (("--http-certificate", "certificate.pem"), "belong to one party's server"),
        (("--servers", "https://zero.example", "https://one.example"), "belong to one party's server"),
        (("--reveal", "rounded:2"), "are for --direct"),
        ((*PARTY_0, "--quota", "5"), "are for --direct"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_sentence(tmp_path, capsys, arguments, said):
    write_digits_sized_build(tmp_path / "build")
    assert main([str(tmp_path / "build"), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_build_that_says_argmax_and_opens_logits_is_not_served(tmp_path, capsys):
    program, weights = digits_network()
    write_build(
        tmp_path / "build", replace(program, reveals=ARGMAX), weights, {"device": "zcu104", "protocol": PROTOCOL}
    )
    assert main([str(tmp_path / "build"), *PARTY_0]) == 2
    assert "does not end in computing it" in capsys.readouterr().err


def test_two_models_have_two_names(tmp_path, capsys):
    build = str(write_digits_sized_build(tmp_path / "build").path)
    assert main([f"a={build}", f"a={build}", *PARTY_0]) == 2
    assert "same name" in capsys.readouterr().err
    assert main([f"a/b={build}", *PARTY_0]) == 2
    assert "no name of a model" in capsys.readouterr().err


def test_the_client_file_needs_the_standard_library_and_numpy_alone():
    tree = ast.parse(Path(client.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy"}


def test_material_is_made_between_the_marks_and_a_little_at_once_when_there_is_none():
    marks = Marks(low=10, high=30, per_set=16)
    assert marks.wanted(left=12, batch=16) == 0
    assert marks.wanted(left=9, batch=16) == 16
    assert marks.wanted(left=25, batch=16) == 5
    assert marks.wanted(left=30, batch=16) == 0
    assert marks.wanted(left=25, batch=16) == 0
    assert marks.wanted(left=0, batch=16) == FIRST_COUNT


@pytest.mark.parametrize(("interval", "said"), [("soon", "not a number"), ("nan", "0.1 to 60"), ("0", "0.1 to 60")])
def test_top_refuses_an_interval_that_is_none(capsys, interval, said):
    with pytest.raises(SystemExit) as ended:
        top(["http://127.0.0.1:9", "--interval", interval])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_top_says_which_server_does_not_answer(capsys):
    assert top(["http://127.0.0.1:9", "--once", "--interval", "0.1"]) == 0
    assert "does not answer" in capsys.readouterr().out
    assert top(["http://127.0.0.1:9", "--json", "--interval", "0.1"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"server": "http://127.0.0.1:9", "models": {}}]
