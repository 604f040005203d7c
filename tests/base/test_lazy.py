"""Packages offer names without importing what is behind them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rrnet_nni
from rrnet_nni import search_spaces, strategies
from rrnet_nni.base.lazy import lazy_names


def test_a_name_comes_from_its_home_and_another_one_is_no_attribute() -> None:
    get = lazy_names("rrnet_nni.base", {"text_table": "tables"})
    assert get("text_table")(("a",), [("1",)]) == "a\n1\n"
    with pytest.raises(AttributeError, match=r"'rrnet_nni\.base' has no attribute 'nothing'"):
        get("nothing")


@pytest.mark.parametrize("package", [rrnet_nni, search_spaces, strategies], ids=lambda package: package.__name__)
def test_every_name_that_a_package_offers_is_there(package: object) -> None:
    assert all(hasattr(package, name) for name in package.__all__)  # type: ignore[attr-defined]
    assert not hasattr(package, "nothing")


def test_nothing_heavy_is_imported_for_a_name_that_nobody_uses() -> None:
    code = "import sys, rrnet_nni, rrnet_nni.search_spaces, rrnet_nni.strategies; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
