"""The list of a server's models, which may change while it runs."""

import shutil

import numpy as np
import pytest
from helpers.networks.small_programs import digits_network
from helpers.parties.served import PROTOCOL, write_digits_sized_build

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.runtime.service.models.catalogue import Catalogue, named_build, read_list
from rrnet_nni.fpga.runtime.service.models.model import load_model


@pytest.fixture
def listed(tmp_path):
    """A catalogue of what its `names` list says: name -> build directory."""
    write_digits_sized_build(tmp_path / "build")

    def load():
        options = {"protocol": None, "batch": 4, "most_waiting": 8, "certificates": None}
        return [load_model(name, tmp_path / path, 1, tmp_path / "pool" / name, **options) for name, path in names]

    names = [("a", "build")]
    catalogue = Catalogue(load)
    catalogue.names = names
    return catalogue


def names(models):
    return [model.name for model in models]


def test_models_that_are_listed_still_go_on_and_others_come_and_go(listed):
    kept = listed["a"]
    listed.names.append(("b", "build"))
    added, retired = listed.reload()
    assert (names(added), names(retired), names(listed.values())) == (["b"], [], ["a", "b"])
    assert listed["a"] is kept
    assert [each.lanes.awaited for each in listed.values()] == [True, False]
    del listed.names[0]
    added, retired = listed.reload()
    assert (names(added), names(retired), list(listed)) == ([], ["a"], ["b"])
    assert listed.reload() == ([], [])


def test_a_build_that_was_written_anew_is_another_model_also_where_only_its_weights_differ(listed, tmp_path):
    before = listed["a"]
    program, weights = digits_network(side=16, pool=4, classes=10)
    shutil.rmtree(tmp_path / "build")
    changed = {
        name: np.where(np.arange(words.size).reshape(words.shape), words, words + 1) for name, words in weights.items()
    }
    write_build(tmp_path / "build", program, changed, {"device": "zcu104", "protocol": PROTOCOL})
    added, retired = listed.reload()
    assert names(added) == names(retired) == ["a"]
    assert retired == [before]
    assert listed["a"] is added[0]


def test_where_anything_is_refused_nothing_changes(listed):
    kept = listed["a"]
    for wrong in (("b", "nowhere"), ("a", "build")):
        listed.names.append(wrong)
        with pytest.raises(Refusal):
            listed.reload()
        assert dict(listed.items()) == {"a": kept}
        listed.names.pop()


def test_a_list_is_a_file_of_names_and_builds_beside_it(tmp_path):
    (tmp_path / "models").write_text(
        "digits=build\n\n  # later: cats=cats/\nother/build  # without a name\nx = /abs\ny=theta=2/build\n"
    )
    expected = [f"digits={tmp_path}/build", f"{tmp_path}/other/build", "x=/abs", f"y={tmp_path}/theta=2/build"]
    assert read_list(tmp_path / "models") == expected
    assert named_build(expected[-1]) == ("y", tmp_path / "theta=2" / "build")
    with pytest.raises(Refusal, match="cannot be read"):
        read_list(tmp_path / "absent")
