"""What a candidate is worth and what it costs."""

from rrnet_nni.base.compatibility import prepare_libraries

prepare_libraries()
