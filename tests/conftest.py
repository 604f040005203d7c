"""Prepare the libraries before any test module imports them."""

from rrnet_nni.compatibility import prepare_libraries

prepare_libraries()
