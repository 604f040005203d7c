"""Models that come and go while two daemons serve others."""

import shutil
import signal
import threading

import numpy as np
import pytest
from helpers.networks.small_programs import digits_network
from helpers.parties.served import PROTOCOL, Servers, clear_images, wait_until, write_digits_sized_build

from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.service.client import PrivateClassifier, ServiceFault


class Listed:
    """Two daemons whose lists, a file of each operator's, tests rewrite."""

    def __init__(self, root):
        self.files = [root / f"models-{party}" for party in (0, 1)]
        for file in self.files:
            file.write_text("# none yet\n")
        write_digits_sized_build(root / "build")
        (root / "second.pool").mkdir()
        self.root = root

    def options(self):
        return ("--models", self.files[0], "--no-filling"), ("--models", self.files[1])

    def write(self, servers, lines, parties=(0, 1)):
        for party in parties:
            self.files[party].write_text(lines)
            servers.processes[party].send_signal(signal.SIGHUP)

    def build_second(self, seed):
        """Another network under the second name, and material for it."""
        shutil.rmtree(self.root / "second", ignore_errors=True)
        program, weights = digits_network(side=6 + 2 * seed)
        write_build(self.root / "second", program, weights, {"device": "zcu104", "protocol": PROTOCOL})
        built = load_build(self.root / "second")
        pool = self.root / "second.pool"
        prepare_set(pool / f"{seed}", built.program, built.program_digest, get_execution(PROTOCOL), 20)
        images = np.random.default_rng(0).normal(size=(2, 1, 6 + 2 * seed, 6 + 2 * seed)).astype(np.float32)
        return images, run_reference(program, weights, images)


@pytest.fixture
def listed(tmp_path):
    return Listed(tmp_path)


def ready(servers, name):
    return all(servers.health(party)["models"].get(name, {}).get("ready") for party in (0, 1))


def known(servers, name):
    return [name in servers.health(party)["models"] for party in (0, 1)]


def test_models_are_loaded_replaced_and_unloaded_while_another_one_is_served(tmp_path, listed):
    with Servers(tmp_path, "--expiry", 2, dealt=(2000,), options_of=listed.options()) as servers:
        images, classes = clear_images(load_build(servers.build), 20)
        over, faults, asked = threading.Event(), [], []

        def work():
            with PrivateClassifier(servers.urls, "build", attempts=1) as classifier:
                while not over.is_set() and len(asked) < 1500:
                    found = classifier.predict(images[:4])
                    asked.extend(found == classes[:4])

        def keep_asking():
            try:
                work()
            except ServiceFault as fault:
                faults.append(str(fault))

        other = threading.Thread(target=keep_asking)
        other.start()
        pictures, logits = listed.build_second(0)
        listed.write(servers, "second=second\n", parties=(1,))
        wait_until(lambda: known(servers, "second") == [False, True], "party 1 does not load it")
        assert all(servers.health(party)["ready"] for party in (0, 1)), "one that is not ready yet turns nobody away"
        listed.write(servers, "second=second\n", parties=(0,))
        wait_until(lambda: ready(servers, "second"), "the new model is not ready")
        with PrivateClassifier(servers.urls, "second", attempts=8) as old:
            assert np.abs(old.logits(pictures) - logits).max() < 0.2
            pictures, logits = listed.build_second(1)
            listed.write(servers, "second=second\n")
            wait_until(
                lambda: "model unloaded" in servers.log(0) and "model unloaded" in servers.log(1), "not replaced"
            )
            wait_until(lambda: ready(servers, "second"), "the replaced model is not ready")
            with pytest.raises(ServiceFault, match="replaced by another one"):
                old.logits(np.zeros((1, 1, 6, 6)))
        with PrivateClassifier(servers.urls, "second", attempts=8) as new:
            assert np.abs(new.logits(pictures) - logits).max() < 0.2
            listed.write(servers, "second=nowhere\n")
            wait_until(lambda: "models not reloaded" in servers.log(0), "a list that cannot be read is not told of")
            assert np.abs(new.logits(pictures) - logits).max() < 0.2
            listed.write(servers, "")
            wait_until(lambda: known(servers, "second") == [False, False], "it is still served")
            with pytest.raises(ServiceFault, match="no model of that name"):
                new.logits(pictures)
        over.set()
        other.join()
        assert not faults
        assert len(asked) > 4
        assert all(asked)
        wait_until(lambda: 'lanes{model="second"}' not in str(servers.numbers(0)), "its gauges stay")
