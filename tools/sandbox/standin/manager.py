"""Starting, restarting and stopping controllers as Composite- and DecoratorControllers come, change and go."""

from __future__ import annotations

import logging

import httpx2

from tools.sandbox.api import Api, ApiError, Object, UnknownResourceError
from tools.sandbox.standin.children import ChildrenError
from tools.sandbox.standin.composite import Composite
from tools.sandbox.standin.controller import Controller, Means
from tools.sandbox.standin.decorator import Decorator
from tools.sandbox.standin.events import Recorder
from tools.sandbox.standin.informer import Informers
from tools.sandbox.standin.queue import WorkQueue
from tools.sandbox.standin.webhook import HookError

logger = logging.getLogger(__name__)
API_VERSION = "metacontroller.k8s.io/v1alpha1"
RETRY_SECONDS = 2.0
Key = tuple[str, str]  # kind and name
KINDS = {"CompositeController": Composite, "DecoratorController": Decorator}


class Manager:
    """Runs every CompositeController and DecoratorController."""

    def __init__(self, api: Api, workers: int) -> None:
        informers = Informers(api)
        self._recorder = Recorder(api)
        self._means = Means(api, informers, self._recorder, workers)
        self._queue = WorkQueue()
        self._running: dict[Key, Controller] = {}
        self._controllers = {kind: informers.of(API_VERSION, f"{kind.lower()}s") for kind in KINDS}

    def run(self) -> None:
        """Never returns."""
        for informer in self._controllers.values():
            informer.add_handler(self._on_controller)
        while (key := self._queue.get()) is not None:
            kind, name = key.split("/")
            self._reconcile((kind, name))
            self._queue.done(key)

    def _on_controller(self, old: Object | None, new: Object | None) -> None:
        item = new or old
        if item:
            self._queue.add(f"{item['kind']}/{item['metadata']['name']}")

    def _reconcile(self, key: Key) -> None:
        """Nothing happens unless the spec changed: annotations and labels do not restart a controller."""
        kind, name = key
        wanted, running = self._controllers[kind].get(name), self._running.get(key)
        if wanted and running and wanted["spec"] == running.controller["spec"]:
            return
        if running:
            self._running.pop(key).stop()
            self._recorder.record(running.controller, "Normal", "Stopped", f"Stopped controller: {name}")
        if wanted:
            self._start(key, wanted)

    def _start(self, key: Key, controller: Object) -> None:
        """One missing kind keeps the whole controller from starting; it is tried again until the kind is there."""
        kind, name = key
        try:
            started = KINDS[kind](controller, self._means)
        except (UnknownResourceError, HookError, ChildrenError, ApiError, httpx2.HTTPError, KeyError) as error:
            self._recorder.record(controller, "Warning", "CreateError", f"Cannot create new controller: {error}")
            self._queue.add_after("/".join(key), RETRY_SECONDS)
            return
        started.start()
        self._running[key] = started
        self._recorder.record(controller, "Normal", "Started", f"Started controller: {name}")
