"""What a candidate is worth and what it costs."""

from rrnet_nni.compatibility import prepare_libraries

prepare_libraries()
