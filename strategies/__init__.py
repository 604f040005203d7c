"""How a space is searched: Algorithm 1, its rivals, and the tuner of λ."""

from rrnet_nni.compatibility import prepare_libraries

prepare_libraries()

from .darts import RRNetDARTS  # noqa: E402 (the libraries are prepared before anything imports them)
from .options import SearchOptions  # noqa: E402
from .problem import SearchProblem, SearchResult  # noqa: E402
from .record import EpochRecord  # noqa: E402
from .registry import search, strategy_names  # noqa: E402

__all__ = [
    "EpochRecord",
    "RRNetDARTS",
    "SearchOptions",
    "SearchProblem",
    "SearchResult",
    "search",
    "strategy_names",
]
