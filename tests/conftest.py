"""Prepare the libraries before any test module imports them; property tests never fail for being slow."""

from hypothesis import HealthCheck, settings

from rrnet_nni.base.compatibility import prepare_libraries

prepare_libraries()

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
