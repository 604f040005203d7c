"""Reports that reach the NNI manager although a search runs inside of the trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nni
from nni.runtime.trial_command_channel import (
    TrialCommandChannel,
    get_default_trial_command_channel,
    set_default_trial_command_channel,
)


@dataclass(frozen=True)
class ManagerChannel:
    """The manager's command channel, kept from before the search.

    NNI's `SequentialExecutionEngine` puts its own channel in place while a strategy runs, so that a plain
    `nni.report_intermediate_result` ends in the engine and the web UI stays empty.
    `test_reports_inside_an_engine_reach_the_kept_channel` shows when this can go.
    """

    channel: TrialCommandChannel

    @classmethod
    def keep(cls) -> ManagerChannel:
        """Take hold of the current channel; call it before the search starts."""
        return cls(get_default_trial_command_channel())

    def report_intermediate(self, metrics: Mapping[str, Any]) -> None:
        """Send one intermediate result (`default` and any other numbers)."""
        current = get_default_trial_command_channel()
        set_default_trial_command_channel(self.channel)
        try:
            nni.report_intermediate_result(dict(metrics))
        finally:
            set_default_trial_command_channel(current)

    def report_final(self, metrics: Mapping[str, Any]) -> None:
        """Send the final result."""
        set_default_trial_command_channel(self.channel)
        nni.report_final_result(dict(metrics))
