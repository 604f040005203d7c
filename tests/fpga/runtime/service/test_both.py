"""Both servers by one command, as `make serve` starts them."""

import os
import re
import subprocess
import sys

import numpy as np
from helpers.parties.served import clear_images, write_digits_sized_build

from rrnet_nni.fpga.runtime.material.party_set import DEALER, party_directory, read_description, unused_count
from rrnet_nni.fpga.runtime.service.client import PrivateClassifier

#: More than the lanes claim at once, so that some is left.
DEALT = 200


def test_the_first_answer_waits_for_nothing_but_the_two_processes_and_the_next_start_uses_what_is_left(tmp_path):
    build = write_digits_sized_build(tmp_path / "build")
    images, classes = clear_images(build, 3)
    command = [sys.executable, "-m", "rrnet_nni.fpga.runtime.service.serve", build.path, "--low", DEALT]
    dealt = []
    for _ in range(2):
        servers = subprocess.Popen(
            [*map(str, command)], stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        try:
            urls = re.findall(r"http://[\d.:]+", servers.stdout.readline())
            with PrivateClassifier(urls) as classifier:
                assert np.array_equal(classifier.predict(images), classes)
        finally:
            servers.terminate()
            servers.communicate(timeout=60)
        parts = [party_directory(root, 1) for root in (tmp_path / "build.pool").glob("made-*")]
        dealt.append([part for part in parts if read_description(part).preprocessing == DEALER])
    assert read_description(dealt[0][0]).count == DEALT
    assert dealt[0] == dealt[1], "no more is dealt where some is left"
    assert unused_count(dealt[0][0]) < DEALT
