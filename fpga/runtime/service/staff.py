"""The threads of a daemon's models: started with a model, ended with it, while the models come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rrnet_nni.base.errors import ExecutionFault, Refusal

from .models.catalogue import Catalogue
from .models.model import Model
from .telemetry import Telemetry

#: What requests get to finish once their model, or the daemon, is asked to end.
DRAIN_S = 30
LOOK_AGAIN_S = 0.1


class Staff:
    """Works for the models of a catalogue.

    Args:
        catalogue: the models.
        tasks: what to run for a model, each in a thread of its own until the model has ended.
        telemetry: hears of models that come and go.
    """

    def __init__(
        self, catalogue: Catalogue, tasks: Callable[[Model], list[Callable[[], None]]], telemetry: Telemetry
    ) -> None:
        self._catalogue, self._tasks, self._telemetry = catalogue, tasks, telemetry
        self._threads: list[threading.Thread] = []
        self._reloading = threading.Lock()

    def start(self) -> None:
        """Begin with the models that are there."""
        for model in self._catalogue.values():
            self._start(model)

    def reload(self) -> None:
        """Take up the models that are listed now, in the background; a list that is refused changes nothing."""
        threading.Thread(target=self._reload, daemon=True).start()

    def end(self) -> None:
        """End all models and their threads."""
        for model in self._catalogue.values():
            model.ended.set()
        deadline = time.monotonic() + 3
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self, model: Model) -> None:
        self._telemetry.watch(
            model.name,
            lanes=lambda: model.lanes.up,
            material=model.pool.left,
            waiting=lambda: model.halves.images,
        )
        started = [threading.Thread(target=each, daemon=True) for each in self._tasks(model)]
        self._threads = [each for each in self._threads if each.is_alive()] + started
        for thread in started:
            thread.start()

    def _reload(self) -> None:
        with self._reloading:
            try:
                added, retired = self._catalogue.reload()
            except (Refusal, ExecutionFault) as error:
                self._telemetry.log("models not reloaded", reason=str(error))
                return
            for model in added:
                self._start(model)
                self._telemetry.log("model loaded", model=model.name, material=model.pool.left())
            for model in retired:
                threading.Thread(target=self._retire, args=(model,), daemon=True).start()
            if not added and not retired:
                self._telemetry.log("models reloaded, none changed")

    def _retire(self, model: Model) -> None:
        """Let what has begun finish, then end the model's lanes."""
        deadline = time.monotonic() + DRAIN_S
        while model.halves.images and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN_S)
        model.ended.set()
        if model.name not in self._catalogue:
            self._telemetry.forget(model.name)
        self._telemetry.log("model unloaded", model=model.name)
