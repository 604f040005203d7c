"""How a space is searched: Algorithm 1, its rivals, and the tuner of λ.

Names are imported when they are first used: NNI starts the tuner in a process of its own and gives it ten seconds to
answer, in which torch and Lightning must not be imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rrnet_nni.base.compatibility import prepare_libraries

if TYPE_CHECKING:
    from .darts.strategy import RRNetDARTS
    from .options import SearchOptions
    from .pareto_tuner import ParetoTuner
    from .problem import SearchProblem, SearchResult
    from .record import EpochRecord
    from .registry import search, strategy_names

prepare_libraries()

__all__ = [
    "EpochRecord",
    "ParetoTuner",
    "RRNetDARTS",
    "SearchOptions",
    "SearchProblem",
    "SearchResult",
    "search",
    "strategy_names",
]

_HOMES = {
    "EpochRecord": "record",
    "ParetoTuner": "pareto_tuner",
    "RRNetDARTS": "darts",
    "SearchOptions": "options",
    "SearchProblem": "problem",
    "SearchResult": "problem",
    "search": "registry",
    "strategy_names": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
