"""Options that verbs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from rrnet_nni.cli import build_parser
from rrnet_nni.cli.options import read_task
from rrnet_nni.starting_files import task_named

DIGITS = Path(__file__).parents[2] / "examples" / "digits.yml"


def test_images_and_seed_of_the_command_line_replace_those_of_the_task(tmp_path: Path) -> None:
    arguments = ["search", "--task", str(DIGITS), "--images", str(tmp_path), "--seed", "7", "-o", "x"]
    task = read_task(build_parser().parse_args(arguments))
    assert (task.data.name, task.data.root, task.seed) == ("folder", str(tmp_path), 7)
    assert task.backbone == "resnet8"


def test_a_task_of_the_package_is_named_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for named in ([], ["--task", "digits"]):
        task = read_task(build_parser().parse_args(["search", *named, "-o", "x"]))
        assert (task.name, task.data.name, task.backbone) == ("digits", "digits", "resnet8")
    (tmp_path / "digits.yml").write_text("backbone: resnet20\ndata: {name: digits}\n")
    assert read_task(build_parser().parse_args(["search", "-o", "x"])).backbone == "resnet20"


def test_a_file_goes_before_a_task_of_the_package_and_other_names_are_files(tmp_path: Path) -> None:
    assert task_named(Path("cifar.yml"), tmp_path) == tmp_path / "cifar.yml"
    (tmp_path / "digits").write_text("")
    assert task_named(Path("digits"), tmp_path) == tmp_path / "digits"
