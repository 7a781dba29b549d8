"""What is watched of downloads. Nothing else waits for it: where the rights are missing, only the causes are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from app.agent.downloads import parse_download_pod, parse_event, parse_job, plan_problems
from app.agent.edge import resources
from app.agent.edge.api import Api
from app.agent.edge.reflector import Reflector
from app.agent.patch import Patch
from app.agent.store import Store


class Downloads:
    """Jobs, their pods, and the events that tell of either."""

    def __init__(self, api: Api, wake: Callable[[], None]) -> None:
        self.jobs = Reflector(api, resources.DOWNLOAD_JOBS, Store(parse_job), wake)
        self._pods = Reflector(api, resources.DOWNLOAD_PODS, Store(parse_download_pod), wake)
        self._events = [Reflector(api, it, Store(parse_event), wake) for it in resources.EVENTS]

    @property
    def reflectors(self) -> Sequence[Reflector[Any]]:
        return (self.jobs, self._pods, *self._events)

    def plan(self) -> list[Patch]:
        """Nothing until all of it is known: an annotation must not go because its cause was not read yet."""
        if not all(it.current for it in self.reflectors):
            return []
        events = [event for it in self._events for event in it.store.facts.values()]
        return plan_problems(self.jobs.store.facts, self._pods.store.facts.values(), events)
