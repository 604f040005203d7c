"""What the client may evaluate under a build: images inside the range for which its formats were certified."""

from pathlib import Path

import numpy as np
import pytest
from helpers.networks.small_programs import residual_network

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler import compile_command
from rrnet_nni.fpga.program.build import calibrated_range, load_build
from rrnet_nni.fpga.program.reference import encode_images
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.commands import run as cli
from rrnet_nni.fpga.runtime.session.inputs import load_build_images

CASES = Path(__file__).parents[2] / "compiler" / "onnx" / "cases"
SEEN, HEADROOM = 3.0, 2.0


@pytest.fixture
def build(tmp_path):
    program, weights = residual_network()
    report = {
        "device": "zcu104",
        "protocol": "beaver-ot",
        "certificate": [{"tensor": "image", "seen": SEEN}, {"tensor": "stem", "seen": 9.0}],
        "calibration": {"headroom": HEADROOM},
    }
    write_build(tmp_path / "build", program, weights, report)
    return tmp_path / "build"


def saved(folder, largest):
    images = np.random.default_rng(0).uniform(-1, 1, size=(3, 3, 9, 9)).astype(np.float32)
    images[1, 2, 3, 4] = largest
    np.save(folder / "x.npy", images)
    return folder / "x.npy", images


@pytest.mark.parametrize("protocol", executions())
@pytest.mark.parametrize("largest", [6.1, -255.0])
def test_every_protocol_refuses_images_beyond_the_headroom_before_anything_is_made(build, capsys, protocol, largest):
    path, _ = saved(build.parent, largest)
    assert cli.main([str(build), "--input", str(path), "--protocol", protocol]) == 2
    refusal = capsys.readouterr().err
    assert f"image 1 reaches {abs(largest):g}, beyond ±6, the limit of this build and protocol" in refusal
    assert "--calibrate" in refusal
    assert not (build.parent / "build.material").exists()


def test_one_party_alone_refuses_them_before_it_looks_for_the_other(build, capsys):
    path, _ = saved(build.parent, 255.0)
    arguments = [str(build), "--party", "0", "--connect", "127.0.0.1:1", "--input", str(path)]
    assert cli.main(arguments) == 2
    assert "beyond ±6" in capsys.readouterr().err


def test_images_inside_the_headroom_are_taken_with_a_warning(build):
    path, images = saved(build.parent, 5.0)
    loaded = load_build_images(path, load_build(build))
    assert loaded.warning is not None
    assert (
        "1 of 3 images reach 5, beyond the ±3 of the calibration images; this build's headroom ends at ±6"
        in loaded.warning
    )
    assert np.array_equal(loaded.words, encode_images(load_build(build).program, images))


def test_images_like_those_of_the_calibration_are_taken_silently(build):
    path, _ = saved(build.parent, 3.0)
    assert load_build_images(path, load_build(build)).warning is None


def test_the_warning_is_printed_once_by_who_starts_both_parties(build, capsys):
    path, _ = saved(build.parent, 5.0)
    assert cli.main([str(build), "--input", str(path), "--json"]) == 0
    assert capsys.readouterr().err.count("beyond the ±3") == 1


def test_a_build_that_certifies_nothing_has_no_range(tmp_path):
    program, weights = residual_network()
    write_build(tmp_path / "build", program, weights, {"device": "zcu104"})
    assert calibrated_range(load_build(tmp_path / "build")) is None


def test_the_limit_of_the_words_still_holds(tmp_path):
    program, weights = residual_network()
    write_build(tmp_path / "build", program, weights, {"device": "zcu104"})
    path, _ = saved(tmp_path, 2.0**23)
    with pytest.raises(Refusal, match=r"reaches 8\.389e"):
        load_build_images(path, load_build(tmp_path / "build"))


@pytest.mark.parametrize("protocol", executions())
def test_pixels_for_a_model_that_was_calibrated_without_them_are_refused(tmp_path, capsys, protocol):
    images = np.random.default_rng(0).normal(size=(8, 3, 16, 16)).astype(np.float32).clip(-3, 3)
    np.save(tmp_path / "calibrate.npy", images)
    np.save(tmp_path / "pixels.npy", np.full((1, 3, 16, 16), 255, np.float32))
    model, build = CASES / "out_of_range.onnx", tmp_path / "build"
    assert compile_command.main([str(model), "-o", str(build), "--calibrate", str(tmp_path / "calibrate.npy")]) == 0
    assert cli.main([str(build), "--input", str(tmp_path / "pixels.npy"), "--protocol", protocol]) == 2
    assert "image 0 reaches 255, beyond ±6" in capsys.readouterr().err
    client = ["--party", "0", "--connect", "127.0.0.1:1", "--input", str(tmp_path / "pixels.npy")]
    assert cli.main([str(build / "client"), *client, "--protocol", protocol]) == 2
    assert "image 0 reaches 255, beyond ±6" in capsys.readouterr().err
