"""The `rrnet` command line as a user meets it: help, answers, exit statuses, one-sentence errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rrnet_nni.cli import VERBS, main

ROOT = Path(__file__).parents[2]


def test_help_of_every_verb_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in VERBS:
        with pytest.raises(SystemExit) as stopped:
            main([name, "--help"])
        assert stopped.value.code == 0
        assert f"rrnet {name}" in capsys.readouterr().out.split("example", 1)[1]


def test_help_imports_neither_torch_nor_nni() -> None:
    code = (
        "import sys\nfrom rrnet_nni.cli import build_parser\nbuild_parser()\n"
        "assert not {'torch', 'nni', 'pytorch_lightning'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", "--task", "absent.yml", "-o", "x"], "absent.yml"),
        (["search", "--latency-weight", "-1", "-o", "x"], "latency-weight"),
        (["search", "--latency-weight", "nan", "-o", "x"], "latency-weight"),
        (["search", "--latency-weight", "0.1", "--strategy", "luck", "-o", "x"], "luck"),
        (["search", "--seed", "-3", "-o", "x"], "seed"),
        (["export", "absent", "-o", "model.onnx"], "absent"),
        (["report", "absent"], "absent"),
        (["search", "-o", "file"], "file is a file, not a folder"),
        (["train", "--activation", "relu", "-o", "file/inside"], "file/inside: cannot make this folder"),
        (["trial", "-o", "file"], "file is a file, not a folder"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_sentence(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = ROOT / "examples" / "digits.yml"
    if arguments[0] in ("search", "train", "trial") and "--task" not in arguments:
        arguments = [*arguments, "--task", str(task)]
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert words in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("arguments", [[], ["dance"], ["search"], ["search", "-o", "x", "--latency-weight", "much"]])
def test_bad_usage_ends_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "--help" in capsys.readouterr().err


def test_a_missing_dataset_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tmp_path / "task.yml"
    task.write_text("backbone: resnet8\ndata: {name: folder, root: nowhere}\n")
    assert main(["search", "--task", str(task), "-o", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert "nowhere" in message
    assert message.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_show_answers_programs_as_the_contract_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "resnet18", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["relus"] == 188_416
    assert answer["pool_comparisons"] == 131_072
    assert {"label", "candidates", "shape", "latency_ms"} <= set(answer["choices"][0])
