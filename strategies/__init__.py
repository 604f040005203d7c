"""How a space is searched: Algorithm 1, its rivals, and the tuner of λ."""

from rrnet_nni.compatibility import prepare_libraries

prepare_libraries()
