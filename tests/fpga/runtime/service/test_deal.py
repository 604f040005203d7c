"""A dealer of its own fills the pools of two daemons, whoever of the three is killed meanwhile."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from helpers.parties.served import (
    PROTOCOL,
    Servers,
    ask_many,
    asking,
    clear_images,
    free_port,
    wait_until,
    write_digits_sized_build,
)

from rrnet_nni.base.errors import ExecutionFault
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.link.tls import CERTIFICATE, accept_peer, fingerprint, make_own, read_certificate
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.service.deal import main
from rrnet_nni.fpga.runtime.service.models.pool import SETTLED_S
from rrnet_nni.fpga.runtime.service.peers.dialogue import DEAL, ask, introduction
from rrnet_nni.fpga.runtime.service.peers.peer import Peer

MARKS = "--low", "20", "--high", "40", "--per-set", "16"


def make_keys(root):
    """Keys of the dealer and of both parties for it, each certificate pinned at the other end."""
    make_own(root / "dealer", 0)
    for name in ("party-0", "party-1"):
        make_own(root / name, 0)
        for mine, theirs, known_as in (("dealer", name, name), (name, "dealer", None)):
            certificate = root / theirs / CERTIFICATE
            accept_peer(root / mine, certificate, fingerprint(read_certificate(certificate)), known_as)


class Dealer:
    """The dealer's process, which can be killed and started again, and two daemons that it deals to."""

    def __init__(self, root):
        self.root, self.address = root, f"127.0.0.1:{free_port()}"
        self.build = write_digits_sized_build(root / "build")
        make_keys(root / "keys")
        dealt = [("--dealer", self.address, "--dealer-tls", root / "keys" / f"party-{party}") for party in (0, 1)]
        self.servers = Servers(root, "--expiry", 2, options_of=dealt)
        (root / "scratch").mkdir()
        self.start()

    def start(self):
        command = [sys.executable, "-m", "rrnet_nni.fpga.runtime.service.deal", self.root / "build"]
        self.said_before = len(self.log())
        command += ["--listen", self.address, "--tls", self.root / "keys" / "dealer", *MARKS]
        self.process = subprocess.Popen(
            [*map(str, command)],
            stderr=(self.root / "dealer.log").open("ab"),
            env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(self.root / "scratch")},
        )

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def log(self):
        path = self.root / "dealer.log"
        return path.read_text() if path.exists() else ""

    def __enter__(self):
        self.servers.__enter__()
        return self

    def __exit__(self, *error):
        # until it listens, a signal ends it as it ends any process
        wait_until(lambda: "listening" in self.log()[self.said_before :], "the dealer does not listen")
        self.process.terminate()
        assert self.process.wait(20) == 0
        self.servers.__exit__(*error)


def material(servers):
    return min(servers.health(party)["models"]["build"]["material"] for party in (0, 1))


def put_half_a_set(build, root):
    """What is left of a set whose dealer was killed between the two parties, a while ago."""
    prepare_set(root, build.program, build.program_digest, get_execution(PROTOCOL), 3)
    shutil.rmtree(root / "party-0")
    long_ago = time.time() - SETTLED_S - 10
    os.utime(root, (long_ago, long_ago))


def test_the_dealer_keeps_both_pools_between_the_marks_and_removes_what_only_one_party_got(tmp_path):
    with Dealer(tmp_path) as dealer:
        servers = dealer.servers
        wait_until(lambda: material(servers) >= 40, "the pools are not filled")
        images, classes = clear_images(dealer.build, 60)
        assert ask_many(servers.urls, images, 4, attempts=20) == list(classes)
        wait_until(lambda: material(servers) >= 20, "the pools are not filled again")
        zero, one = servers.used()
        assert sorted(zero) == sorted(one)
        assert len(set(zero)) == len(zero) == 60
        assert len({name for name, _ in zero}) > 2
        assert "no material" not in dealer.log() + servers.log(0) + servers.log(1)
        wait_until(lambda: not list((tmp_path / "scratch").rglob("weights.key")), "the dealer keeps a set")
        stranger = Peer("the dealer", dealer.address, tmp_path / "keys" / "party-1", 10.0, ())
        terms = {"party": 0, "program": dealer.build.program_digest, "protocol": PROTOCOL}
        with stranger.dial() as link, pytest.raises(ExecutionFault, match="certificate of party-1"):
            ask(link, introduction(DEAL, "build", terms))
        put_half_a_set(dealer.build, tmp_path / "build.pool" / "made-0123")
        wait_until(lambda: not (tmp_path / "build.pool" / "made-0123").exists(), "half a set stays")
        assert material(servers) >= 20


def check_kills(tmp_path, kills, seed):
    """Kill the three in turn at random moments under load; returns the images that were classified."""
    choose = random.Random(seed)
    with Dealer(tmp_path) as dealer:
        servers, (images, classes) = dealer.servers, clear_images(dealer.build, 40, seed)
        with asking(servers.urls, images, classes, 3) as heard:
            for kill in range(kills):
                time.sleep(choose.uniform(0.3, 1.2))
                who = (kill + seed) % 3
                if who == 2:
                    dealer.kill()
                    dealer.start()
                else:
                    servers.kill(who)
                    servers.start(who)
                before = len(heard.right)
                wait_until(lambda before=before: len(heard.right) > before + 5, "it does not go on after a kill")
        used = servers.used()
    assert not heard.wrong
    for party, uses in enumerate(used):
        assert len(set(uses)) == len(uses), f"party {party} used an inference twice"
    assert not list((tmp_path / "scratch").rglob("weights.key")), "a killed dealer's scratch is removed by the next one"
    return heard.right


def test_whoever_is_killed_no_material_is_used_twice_and_it_goes_on(tmp_path):
    assert check_kills(tmp_path, 3, seed=2)


@pytest.mark.slow
def test_fifteen_kills_of_the_three(tmp_path):
    assert check_kills(tmp_path, 15, seed=3)


def test_options_that_do_not_fit_are_refused_in_one_sentence(tmp_path, capsys):
    build = str(write_digits_sized_build(tmp_path / "build").path)
    for arguments, said in (
        ((build, "--listen", "0.0.0.0:7"), "another machine: --tls"),
        ((build, build, "--listen", "127.0.0.1:7"), "same name"),
        ((build, "--listen", "127.0.0.1:7", "--protocol", "paper"), "paper"),
        ((build, "--listen", "127.0.0.1:7", "--per-set", "5000"), "sets of 1 to"),
    ):
        assert main(list(arguments)) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
