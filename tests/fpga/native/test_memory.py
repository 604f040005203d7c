"""Arrays reuse the memory of those before them."""

import subprocess
import sys

SCRIPT = """
import resource, numpy as np
from rrnet_nni.fpga.native.memory import keep_freed_memory
keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        array = np.ones(1 << 21, np.uint32)
        del array
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def test_memory_that_was_freed_is_not_mapped_anew():
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert int(said.stdout) < 20 * (1 << 23) // 4096 // 10
