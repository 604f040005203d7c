"""Options that verbs share."""

from __future__ import annotations

from pathlib import Path

from rrnet_nni.cli import build_parser
from rrnet_nni.cli.options import read_task

DIGITS = Path(__file__).parents[2] / "examples" / "digits.yml"


def test_images_and_seed_of_the_command_line_replace_those_of_the_task(tmp_path: Path) -> None:
    arguments = ["search", "--task", str(DIGITS), "--images", str(tmp_path), "--seed", "7", "-o", "x"]
    task = read_task(build_parser().parse_args(arguments))
    assert (task.data.name, task.data.root, task.seed) == ("folder", str(tmp_path), 7)
    assert task.backbone == "resnet8"
