"""Clients that are party 0 themselves, against party 1's daemon alone: real processes on loopback."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from helpers.networks.small_programs import digits_network
from helpers.parties.party_commands import answer, command
from helpers.parties.served import free_port, wait_until

from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.runtime.link.tls import CERTIFICATE, accept_peer, fingerprint, make_own, read_certificate
from rrnet_nni.fpga.runtime.material.party_set import party_directory, unused_count
from rrnet_nni.fpga.runtime.service.serve import main

PROTOCOL = "masked"
NAMES = "alice", "bob"
#: Images of each client: three sessions.
QUOTA = 9


class Server:
    """The daemon, its clients' keys, and what clients need: `root`/build, `root`/x.npy and a key each."""

    def __init__(self, root, *options):
        self.root, self.log_path = root, root / "server.log"
        program, self.weights = digits_network()
        write_build(root / "build", program, self.weights, {"device": "zcu104", "protocol": PROTOCOL})
        self.images = np.random.default_rng(0).normal(size=(3, 1, 6, 6))
        np.save(root / "x.npy", self.images)
        self.reference = run_reference(program, self.weights, self.images)
        make_own(root / "server", 1)
        for name in NAMES:
            self.admit(name)
        self.address = f"127.0.0.1:{free_port()}"
        command_line = [sys.executable, "-m", "rrnet_nni.fpga.runtime.service.serve", root / "build", "--party", "1"]
        command_line += ["--direct", self.address, "--tls", root / "server", *options]
        self.process = subprocess.Popen(
            [*map(str, command_line)],
            stderr=self.log_path.open("wb"),
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def __enter__(self):
        assert self.process.stdout.readline() == f"waiting for clients on {self.address}\n"
        return self

    def __exit__(self, *error):
        self.process.terminate()
        assert self.process.wait(20) == 0
        self.process.stdout.close()

    def admit(self, name):
        """A key for a new client, each certificate pinned at the other end."""
        make_own(self.root / name, 0)
        for mine, theirs, known_as in (("server", name, name), (name, "server", None)):
            certificate = self.root / theirs / CERTIFICATE
            accept_peer(self.root / mine, certificate, fingerprint(read_certificate(certificate)), known_as)

    def deal(self, name, count):
        """A dealer's set: the client's part to the client, the other one into the server's pool."""
        root = self.root / f"set-of-{name}"
        answer(command("prepare", self.root / "build", "--count", count, "-o", root, "--json"))
        place = self.root / "build.clients" / f"for-{name}"
        place.mkdir(parents=True)
        party_directory(root, 1).rename(party_directory(place, 1))

    def arguments(self, name, *options, material=None):
        address = "--party", "0", "--connect", self.address, "--tls", self.root / name, "--timeout", "20"
        material = "--material", self.root / f"set-of-{material or name}"
        return [str(each) for each in (self.root / "build", *address, *material, *options)]

    def run(self, name, *options, **more):
        return command("run", *self.arguments(name, "--input", self.root / "x.npy", "--json", *options, **more))

    def start(self, name):
        line = [sys.executable, "-m", "rrnet_nni.fpga.runtime.commands.run"]
        line += self.arguments(name, "--input", self.root / "x.npy", "--json")
        return subprocess.Popen(line, stdout=subprocess.PIPE, text=True)

    def events(self, kind):
        return [each for each in map(json.loads, self.log_path.read_text().splitlines()) if each["event"] == kind]

    def check(self, logits):
        assert np.abs(np.array(logits) - self.reference).max() < 0.2


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("direct"), "--quota", QUOTA) as server:
        for name in NAMES:
            server.deal(name, 12)
        yield server


def test_sessions_come_one_after_another_and_several_at_once_each_with_its_clients_own_set(server):
    running = [server.start(name) for name in NAMES]
    for each in running:
        output, _ = each.communicate(timeout=60)
        server.check(json.loads(output)["logits"])
    for _ in range(2):
        result = answer(server.run("alice"))
        server.check(result["logits"])
        assert result["bytes_sent"] == result["predicted_bytes"]
    wait_until(lambda: len(server.events("session")) == 4, "a session was not logged")
    left = {name: [each["set_left"] for each in server.events("session") if each["client"] == name] for name in NAMES}
    assert left == {"alice": [9, 6, 3], "bob": [9]}
    assert server.events("session")[-1]["material"] == 12
    assert unused_count(party_directory(server.root / "build.clients" / "for-alice", 1)) == 3


def test_a_client_can_not_use_anothers_set(server):
    answer(server.run("bob"))  # which is bound to bob's certificate then
    before = unused_count(party_directory(server.root / "build.clients" / "for-bob", 1))
    shutil.copytree(server.root / "set-of-bob", server.root / "set-of-thief")
    (server.root / "set-of-thief" / "party-0" / "certificates.sha256").unlink()
    stolen = server.run("alice", material="thief")
    assert stolen.returncode == 1
    assert "another pair of certificates" in stolen.stderr
    assert unused_count(party_directory(server.root / "build.clients" / "for-bob", 1)) == before


def test_what_the_server_does_not_give_is_told_in_a_sentence_and_leaves_it_serving(server):
    for options, said in (
        (("--reveal", "rounded:2"), "how much of the logits"),
        (("--reveal-to", "1"), "who learns the logits"),
        (("--protocol", "beaver-ot"), "is for masked"),
    ):
        refused = server.run("alice", *options)
        assert refused.returncode in (1, 2)
        assert said in refused.stderr
        assert refused.stderr.count("\n") == 1
    other, weights = digits_network(side=10)
    write_build(server.root / "other", other, weights, {"device": "zcu104", "protocol": PROTOCOL})
    answer(command("prepare", server.root / "other", "--count", 1, "--json"))
    np.save(server.root / "large.npy", np.zeros((1, 1, 10, 10)))
    address = "--party", "0", "--connect", server.address, "--tls", server.root / "alice"
    refused = command("run", server.root / "other", *address, "--input", server.root / "large.npy")
    assert "no model of the client's program" in refused.stderr
    assert answer(server.run("bob"))["images"] == 3


def test_a_client_makes_its_set_with_the_server_and_uses_it(server):
    prepare = "--count", "3", "--preprocessing", "two-party", "-o", server.root / "set-of-carol", "--json"
    server.admit("carol")
    server.process.send_signal(signal.SIGHUP)
    address = "--party", "0", "--connect", server.address, "--tls", server.root / "carol", "--timeout", "20"
    wait_until(
        lambda: command("prepare", server.root / "build", *address, *prepare).returncode == 0,
        "the new client is not let in",
    )
    wait_until(lambda: server.events("material made"), "the set was not logged")
    made = server.events("material made")[-1]
    assert (made["client"], made["count"]) == ("carol", 3)
    result = answer(server.run("carol"))
    server.check(result["logits"])
    assert result["preprocessing"] == "two-party"
    again = server.run("carol")
    assert again.returncode != 0
    assert "enough for 0 of 3 images" in again.stderr or "no set" in again.stderr


def test_a_client_beyond_its_quota_is_told_so_and_its_material_stays(server):
    server.admit("dora")
    server.process.send_signal(signal.SIGHUP)
    server.deal("dora", 12)
    server.check(answer(server.run("dora"))["logits"])
    for _ in range(2):
        answer(server.run("dora"))
    refused = server.run("dora")
    assert refused.returncode == 1
    assert "asks for 3 images, and 0 of its quota of 9 are left" in refused.stderr
    assert unused_count(party_directory(server.root / "build.clients" / "for-dora", 1)) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--party", "1", "--direct", "127.0.0.1:7", "--quota", "5"), "it needs --tls"),
        (("--party", "0", "--direct", "127.0.0.1:7"), "for party 1"),
        (("--party", "1", "--direct", "0.0.0.0:7"), "another machine: --tls"),
        (("--party", "1", "--direct", "127.0.0.1:7", "--http", "127.0.0.1:8"), "a daemon for each"),
        (("--party", "1", "--direct", "127.0.0.1:7", "--dealer", "127.0.0.1:8"), "sets come as files"),
        (("--party", "1", "--direct", "127.0.0.1:7", "--tls", "."), "lacks key.pem"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_sentence(tmp_path, capsys, options, said):
    program, weights = digits_network()
    write_build(tmp_path / "build", program, weights, {"device": "zcu104", "protocol": PROTOCOL})
    assert main([str(tmp_path / "build"), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
