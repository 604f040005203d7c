"""The tuners that NNI knows here, ours among them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import yaml

from rrnet_nni.base.compatibility import nni_algorithms

OUR_TUNER = "ParetoTuner"


def known_tuners() -> dict[str, str]:
    """Names and aliases of NNI's tuners and of those that were registered, in lower case -> as NNI writes them."""
    known = nni_algorithms("tuners") + nni_algorithms("advisors")
    names = [(name, meta["builtinName"]) for meta in known for name in (meta["builtinName"], meta.get("alias"))]
    return {name.lower(): written for name, written in names if name}


def register_tuner() -> None:
    """Register ParetoTuner with the NNI of this environment, as `nnictl algo register` does, where it is not."""
    described = Path(import_module("rrnet_nni.strategies").__path__[0]) / "pareto_tuner.yml"
    wanted = yaml.safe_load(described.read_text(encoding="utf-8"))
    registered = {meta["builtinName"]: meta["className"] for meta in nni_algorithms("tuners")}
    if registered.get(OUR_TUNER) == wanted["className"]:
        return
    from nni.tools.package_utils import AlgoMeta
    from nni.tools.package_utils.config_manager import register_algo_meta

    register_algo_meta(AlgoMeta.load(wanted))
