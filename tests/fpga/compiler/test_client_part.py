"""What the client gets tells nothing of the model but the numbers that are listed: no weight, no parameter, no hash."""

import hashlib
import json
import stat
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.random_models import FAMILIES, RandomModel
from helpers.networks.small_onnx_models import ModelBuilder

from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.program.build import CLIENT, load_build
from rrnet_nni.fpga.program.public_numbers import CLIENT_FILES
from rrnet_nni.fpga.runtime.commands import run

#: Consecutive numbers of a JSON document that chance does not repeat.
RUN = 4
#: Octets: two consecutive parameters, or as many words as hold these bits together, two at least. Words are small
#: numbers: two of nine bits each do meet two of operands.bin in one build of a hundred.
PARAMETERS, WORD_BITS = 2, 40


def numbers_of(document):
    """All numbers of a JSON document, in order."""
    if isinstance(document, dict):
        return [number for value in document.values() for number in numbers_of(value)]
    if isinstance(document, list):
        return [number for value in document for number in numbers_of(value)]
    return [document] if isinstance(document, int | float) and not isinstance(document, bool) else []


def runs_of(values):
    return {tuple(values[start : start + RUN]) for start in range(len(values) - RUN + 1)}


def searched_runs(values):
    """(start, end) of the shortest runs of an array that chance does not repeat in a file."""
    if values.dtype.kind == "f" or len(values) <= PARAMETERS:
        count = min(len(values), PARAMETERS)
        return [(start, start + count) for start in range(len(values) - count + 1)]
    bits = np.concatenate(([0], np.cumsum([int(value).bit_length() + 1 for value in values])))
    ends = np.searchsorted(bits, bits[:-1] + WORD_BITS)
    return [(start, end) for start, end in enumerate(ends.tolist()) if end < len(bits)]


def without_the_list(document):
    """A document without the numbers that are listed, and the operations that have them."""
    if not isinstance(document, dict):
        return document
    kept = {key: value for key, value in document.items() if key != "public_numbers"}
    if "operations" in kept:
        hidden = ("multipliers", "addend")
        kept["operations"] = [
            {key: value for key, value in each.items() if key not in hidden} for each in kept["operations"]
        ]
    return kept


def found_secrets(files, arrays, words, hashed):
    """Which secrets files tell: name -> where.

    Args:
        files: name -> octets.
        arrays: the model's float32 arrays by name.
        words: the build's int32 constants by name.
        hashed: octets of which no hash may be there, by name.
    """
    octets = b"\0".join(files.values())
    found = {}
    for name, array in {**arrays, **words}.items():
        flat = array.reshape(-1)
        for kind in dict.fromkeys((array.dtype.newbyteorder("<"), np.dtype("<f8"))):
            data = flat.astype(kind).tobytes()
            pieces = {data[kind.itemsize * a : kind.itemsize * b] for a, b in searched_runs(flat)}
            if any(piece in octets for piece in pieces if piece.strip(b"\0") and len(set(piece)) > 3):
                found[name] = "octets"
    documents = [without_the_list(json.loads(data)) for name, data in files.items() if name.endswith(".json")]
    numbers = [numbers_of(document) for document in documents]
    digits = {f"{number:.6g}" for each in numbers for number in each if number != int(number)}
    runs = set().union(*(runs_of(each) for each in numbers))
    for name, array in arrays.items():
        if digits & {f"{value:.6g}" for value in array.reshape(-1).tolist()}:
            found[name] = "digits"
    for name, array in words.items():
        if any(len(set(each)) > 1 for each in runs & runs_of(array.reshape(-1).tolist())):
            found[name] = "words"
    for name, data in hashed.items():
        for method in ("sha256", "sha1", "md5"):
            digest = hashlib.new(method, data)
            if digest.digest()[:8] in octets or digest.hexdigest()[:16].encode() in octets:
                found[name] = method
    return found


def compiled(tmp_path, family, seed):
    """A random model's build, the files of its client's part, and its secrets."""
    random = RandomModel(family, seed)
    onnx.save(random.model, tmp_path / "model.onnx")
    np.save(tmp_path / "images.npy", random.images(8))
    compile_model(tmp_path / "model.onnx", tmp_path / "build", calibrate_with=tmp_path / "images.npy")
    build = load_build(tmp_path / "build")
    files = {file.name: file.read_bytes() for file in (tmp_path / "build" / CLIENT).iterdir()}
    hashed = {
        name: (tmp_path / "build" / name).read_bytes() for name in ("weights.bin", "report.json", "manifest.json")
    }
    hashed |= {"model": (tmp_path / "model.onnx").read_bytes()}
    hashed |= {
        f"{name} in {kind}": array.astype(kind).tobytes()
        for name, array in random.secrets.items()
        for kind in ("<f4", "<f8")
    }
    hashed |= {f"words of {name}": words.tobytes() for name, words in build.weights.items()}
    return build, files, random.secrets, hashed


def check_model(tmp_path, family, seed):
    build, files, arrays, hashed = compiled(tmp_path, family, seed)
    assert {"program.json", "instructions.bin", "device.yaml", "report.json", "manifest.json"} <= set(files)
    assert set(files) <= {*CLIENT_FILES, "report.json", "manifest.json"}
    assert found_secrets(files, arrays, build.weights, hashed) == {}
    listed = json.loads(files["report.json"])["public_numbers"]
    assert listed == build.report["public_numbers"]
    for operation in json.loads(files["program.json"])["operations"]:
        numbers = numbers_of([operation.get("multipliers", []), operation.get("addend", [])])
        several = any(len(row) > 1 for row in operation.get("multipliers", []))
        if several or any(abs(number).bit_count() > 1 for number in numbers):
            assert listed["coefficients"][operation["name"]]["multipliers"] == operation["multipliers"]
            assert listed["coefficients"][operation["name"]]["addend"] == operation["addend"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_clients_part_of_a_random_model_tells_what_is_listed_and_nothing_else(tmp_path, family):
    check_model(tmp_path, family, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 26))
@pytest.mark.parametrize("family", FAMILIES)
def test_the_clients_part_of_a_hundred_random_models_tells_nothing_else(tmp_path, family, seed):
    check_model(tmp_path, family, seed)


@pytest.mark.parametrize("name", ["pixel_mask", "add_pixel_constant", "powers"])
def test_masks_and_constants_per_pixel_are_listed(tmp_path, name):
    path = Path(__file__).parent / "onnx" / "cases" / f"{name}.onnx"
    if name == "powers":  # numbers that could as well align formats
        build = ModelBuilder((3, 4, 4))
        x = build.node("Mul", ["image", build.constant("powers", np.exp2(np.arange(16) % 3).reshape(4, 4))], "y")
        path = tmp_path / "powers.onnx"
        onnx.save(build.model(x), path)
    found = compile_model(path, tmp_path / "build")
    listed = json.loads((tmp_path / "build" / CLIENT / "report.json").read_bytes())["public_numbers"]
    picks = {each.name: [len(row) for row in each.offsets] for each in found.program.operations if each.kind == "pick"}
    assert listed["picks"] == picks
    several = [
        each for each in found.program.operations if each.kind == "affine" and any(len(r) > 1 for r in each.multipliers)
    ]
    shifted = [each for each in found.program.operations if each.kind == "affine" and any(each.addend)]
    assert {each.name for each in several + shifted} <= listed["coefficients"].keys()
    assert {"pixel_mask": picks, "add_pixel_constant": shifted, "powers": several}[name]


def test_the_search_finds_weights_parameters_words_and_hashes_where_they_are(tmp_path):
    build, files, arrays, hashed = compiled(tmp_path, "resnet", 99)
    name, array = next(iter(arrays.items()))
    constant, words = next(iter(build.weights.items()))
    leaks = {
        name: {"leak.bin": array.reshape(-1)[3:9].tobytes()},
        "secret2": {"leak.json": json.dumps({"a": float(arrays["secret2"][1])}).encode()},
        constant: {"leak.json": json.dumps([0, *words.reshape(-1)[2:9].tolist()]).encode()},
        "model": {"leak.json": json.dumps({"sha256": hashlib.sha256(hashed["model"]).hexdigest()}).encode()},
        "weights.bin": {"leak.bin": hashlib.sha256(hashed["weights.bin"]).digest()},
    }
    for secret, leak in leaks.items():
        assert secret in found_secrets(files | leak, arrays, build.weights, hashed)


def test_certificate_ranges_and_the_models_hash_are_in_the_servers_part_alone(tmp_path):
    build, files, *_ = compiled(tmp_path, "pre-activation", 4)
    told = json.loads(files["report.json"])
    assert set(told) == {"schema", "device", "protocol", "certificate", "calibration", "public_numbers"}
    assert [row["tensor"] for row in told["certificate"]] == [build.program.input]
    assert len(build.report["certificate"]) == len(build.program.tensors)
    assert build.report["source"]["sha256"] == hashlib.sha256((tmp_path / "model.onnx").read_bytes()).hexdigest()
    assert not (build.path / CLIENT / "weights.bin").exists()


def test_the_clients_part_alone_runs_against_the_whole_build_and_secrets_are_their_owners(tmp_path):
    build, *_ = compiled(tmp_path, "resnet", 3)
    part = load_build(build.path / CLIENT, weights=False)
    assert part.program_digest == build.program_digest
    assert part.program == build.program
    assert stat.S_IMODE(build.path.stat().st_mode) == 0o700
    secret = [file for file in build.path.iterdir() if file.is_file()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in secret} == {0o600}
    refused = run.main([str(build.path / CLIENT), "--party", "1", "--listen", "127.0.0.1:1"])
    assert refused == 2
