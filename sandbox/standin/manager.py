"""Starting, restarting and stopping controllers as CompositeControllers come, change and go."""

from __future__ import annotations

import logging

import httpx

from sandbox.api import Api, ApiError, Object, UnknownResourceError
from sandbox.standin.children import ChildrenError
from sandbox.standin.composite import Composite
from sandbox.standin.events import Recorder
from sandbox.standin.informer import Informers, key_of
from sandbox.standin.queue import WorkQueue
from sandbox.standin.webhook import HookError

logger = logging.getLogger(__name__)
API_VERSION = "metacontroller.k8s.io/v1alpha1"
RETRY_SECONDS = 2.0


class Manager:
    """Runs one Composite per CompositeController."""

    def __init__(self, api: Api, workers: int) -> None:
        self._api, self._workers = api, workers
        self._informers = Informers(api)
        self._recorder = Recorder(api)
        self._queue = WorkQueue()
        self._running: dict[str, Composite] = {}
        self._controllers = self._informers.of(API_VERSION, "compositecontrollers")

    def run(self) -> None:
        """Never returns."""
        self._controllers.add_handler(self._on_controller)
        while (name := self._queue.get()) is not None:
            self._reconcile(name)
            self._queue.done(name)

    def _on_controller(self, old: Object | None, new: Object | None) -> None:
        item = new or old
        if item:
            self._queue.add(key_of(item))

    def _reconcile(self, name: str) -> None:
        """Nothing happens unless the spec changed: annotations and labels do not restart a controller."""
        wanted, running = self._controllers.get(name), self._running.get(name)
        if wanted and running and wanted["spec"] == running.controller["spec"]:
            return
        if running:
            self._running.pop(name).stop()
            self._recorder.record(running.controller, "Normal", "Stopped", f"Stopped controller: {name}")
        if wanted:
            self._start(name, wanted)

    def _start(self, name: str, controller: Object) -> None:
        """One missing kind keeps the whole controller from starting; it is tried again until the kind is there."""
        try:
            composite = Composite(self._api, self._informers, self._recorder, controller, self._workers)
        except (UnknownResourceError, HookError, ChildrenError, ApiError, httpx.HTTPError, KeyError) as error:
            self._recorder.record(controller, "Warning", "CreateError", f"Cannot create new controller: {error}")
            self._queue.add_after(name, RETRY_SECONDS)
            return
        composite.start()
        self._running[name] = composite
        self._recorder.record(controller, "Normal", "Started", f"Started controller: {name}")
