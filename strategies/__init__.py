"""How a space is searched: Algorithm 1, its rivals, and the tuner of λ.

Names are imported when they are first used: NNI starts the tuner in a process of its own and gives it ten seconds to
answer, in which torch and Lightning must not be imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rrnet_nni.base.compatibility import prepare_libraries
from rrnet_nni.base.lazy import lazy_names

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

__getattr__ = lazy_names(__name__, _HOMES)
