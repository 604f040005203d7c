"""An image folder as it is found becomes a task: every odd picture is handled or named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers.odd_pictures import CLASSES, write_odd_folder
from PIL import Image

from rrnet_nni.cli import main
from rrnet_nni.evaluators.images.data import load_dataset
from rrnet_nni.experiments.experiment_file import check_before_trials, read_experiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("newcomer") / "shapes"
    write_odd_folder(root, each=12)
    return root


def test_init_writes_a_task_and_an_experiment_that_pass_every_check(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(folder), "-o", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    said = "\n".join(answer["said"])
    assert "3 classes: bars 15, checks 15, disc 13" in said
    assert "left out: " in said
    for name in ("disc/corrupt.png", "disc/empty.jpg"):
        assert name in said
    assert "much larger than the others" in said
    assert "000-camera.jpg (4000x3000)" in said
    read = read_experiment(Path(answer["experiment"]))
    check_before_trials(read)
    assert read.task is not None
    dataset = load_dataset(read.task.data)
    assert dataset.class_names == CLASSES
    assert dataset.train_images.shape == (34, 3, 30, 30)
    assert len(dataset.test_labels) == 9


def test_init_refuses_to_write_over_files_and_what_is_no_folder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shapes_experiment.yml").write_text("mine")
    assert main(["init", str(folder), "-o", str(tmp_path)]) == 2
    assert "shapes_experiment.yml already exists" in capsys.readouterr().err
    assert (tmp_path / "shapes_experiment.yml").read_text() == "mine"
    assert not (tmp_path / "shapes.yml").exists()
    assert main(["init", str(tmp_path / "nowhere"), "-o", str(tmp_path)]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["it's mine", "a: b", "two #1", "{x} $é", "- dash", "...", "v1.2"])
def test_a_folder_of_any_name_gets_files_that_a_shell_and_yaml_read_as_they_are(name: str, tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        (tmp_path / name / kind).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (16, 16), (index, 0, 0)).save(tmp_path / name / kind / f"{index}.png")
    assert main(["init", str(tmp_path / name), "-o", str(tmp_path)]) == 0
    (experiment,) = tmp_path.glob("*_experiment.yml")
    read = read_experiment(experiment)
    assert read.task is not None
    assert read.task.data.root == str(tmp_path / name)
    assert re.fullmatch(r"\w[\w.-]*", experiment.name)


def test_many_pictures_get_a_larger_network_and_fewer_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rrnet_nni.folder_task.FEW_PICTURES", 6)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(8):
            Image.new("RGB", (90, 80), (index, 0, 0)).save(tmp_path / "pets" / name / f"{index}.png")
    assert main(["init", str(tmp_path / "pets"), "-o", str(tmp_path)]) == 0
    task = read_experiment(tmp_path / "pets_experiment.yml").task
    assert task is not None
    assert (task.backbone, task.data.image_size) == ("resnet18", 64)
