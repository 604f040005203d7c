from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.tiny_task import tiny_evaluator, tiny_latency, tiny_search, tiny_space

torch.set_num_threads(1)


@pytest.fixture
def tiny() -> Any:
    """Builders of the tiny task: `space()`, `latency()`, `evaluator(epochs)`, `search(...)`."""
    return SimpleNamespace(space=tiny_space, latency=tiny_latency, evaluator=tiny_evaluator, search=tiny_search)
