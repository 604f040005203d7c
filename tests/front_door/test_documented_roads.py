"""The commands of README and docs, one after the other, in a folder that looks like a clone after `make`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.documentation.documented_commands import ROOT, documented_commands, documents
from helpers.documentation.documented_road import ELSEWHERE, Road, run_elsewhere
from helpers.networks.small_onnx_models import mixed_model
from helpers.odd_pictures import drawn, write_odd_folder

#: So small that the road takes minutes: what is tried is that no step trips another one.
TASK = """
backbone: resnet8
space: {width: 0.5}
data: {name: digits, train_images: 300, test_images: 40}
search: {epochs: 2, warmup_epochs: 1}
training: {epochs: 4}
calibration_images: 64
"""
SHORTER = (("maxTrialNumber: 6", "maxTrialNumber: 2"), ("epochs: 30", "epochs: 4"), ("epochs: 7,", "epochs: 3,"))
#: Pages that suppose nothing but a clone and a folder of pictures.
FROM_A_CLONE = [ROOT / "docs" / "how-to" / name for name in ("commands.md", "own-images.md")]
#: Walks run on their own (tests/docs/test_walks.py).
WALKS = [document for document in documents() if document.read_text(encoding="utf-8").startswith("<!-- walk")]
PAGES = [document for document in documents() if document not in (ROOT / "README.md", *FROM_A_CLONE, *WALKS)]


def commands(document: Path) -> list[str]:
    return [command for command in documented_commands(document) if run_elsewhere(command) is None]


def test_every_command_is_on_a_road_or_in_a_test_that_is_there() -> None:
    assert commands(ROOT / "README.md") == []
    clones = [command for page in FROM_A_CLONE for command in commands(page)]
    verbs = [command.split()[1] for command in clones if command.startswith("rrnet ")]
    assert {"run", "init", "show", "search", "train", "export", "latency", "paper-table", "report"} <= set(verbs)
    assert sum(command.startswith("rrnet-2pc-") for page in PAGES for command in commands(page)) >= 15
    assert all((ROOT / place).is_file() for place in ELSEWHERE.values())


def shortened(path: Path) -> None:
    text = path.read_text()
    for written, instead in SHORTER:
        text = text.replace(written, instead)
    path.write_text(text)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what a page supposes to be there: the example, a model, its build and images."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "examples" / "digits.yml").write_text(TASK)
    shutil.copy(ROOT / "rrnet.yml", tmp_path)
    shortened(tmp_path / "rrnet.yml")
    (tmp_path / ".lint").mkdir()
    return tmp_path


def with_a_build(clone: Path) -> Road:
    onnx.save(mixed_model(image_size=8), clone / "model.onnx")
    images = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    np.save(clone / "images.npy", images)
    np.save(clone / "x.npy", images[:1])
    road = Road(clone)
    road.run("rrnet-2pc-compile model.onnx -o build/ --calibrate images.npy")
    return road


def test_the_commands_of_the_compilers_page_run_in_order(clone: Path) -> None:
    page = commands(ROOT / "docs" / "explanation" / "compiler.md")
    assert len(page) >= 3
    assert with_a_build(clone).walk(page) == dict.fromkeys(page, 0)


def test_a_road_tells_of_a_command_that_fails_and_of_a_party_that_nobody_met(tmp_path: Path) -> None:
    road = Road(tmp_path)
    (tmp_path / "build" / "client").mkdir(parents=True)
    (tmp_path / "build.material" / "party-0").mkdir(parents=True)
    assert road.walk(["true", "echo --listen", "cd ."]) == {"true": 0, "echo --listen": None, "cd .": 0}
    (tmp_path / "images.npy").touch()
    assert road.walk(["echo --connect here"]) == {"echo --listen": 0, "echo --connect here": 0}
    with pytest.raises(AssertionError, match="echo why >&2; exit 3"):
        road.walk(["true", "echo why >&2; exit 3", "true"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.experiment
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_a_pages_commands_run_in_order(clone: Path, page: Path) -> None:
    printed = commands(page)
    assert with_a_build(clone).walk(printed) == dict.fromkeys(printed, 0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.experiment
@pytest.mark.parametrize("page", FROM_A_CLONE, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_in_order_in_a_fresh_clone(clone: Path, page: Path) -> None:
    write_odd_folder(clone / "my_images", each=20)
    drawn("disc", np.random.default_rng(99)).save(clone / "photo.jpg")
    printed = commands(page)
    assert len(printed) >= 3
    road, walked = Road(clone), []
    for command in printed:
        walked += road.walk([command.replace("--many 6", "--many 2")]).values()
        if command.startswith("rrnet init"):
            shortened(clone / "my_images.yml")
            shortened(clone / "my_images_experiment.yml")
    assert walked == [0] * len(printed)
    assert page.name != "commands.md" or (clone / "page" / "report.html").is_file()
