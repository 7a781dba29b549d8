"""What is watched of events, and of downloads. Nothing else waits for either: where the rights are missing, only the
causes are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from app.agent.downloads import parse_download_pod, parse_job, plan_problems
from app.agent.events import EventStore, index_events
from app.agent.io import resources
from app.agent.io.reflector import Reflector
from app.agent.patch import Patch
from app.agent.snapshot import Warnings
from app.agent.store import Store
from app.apiserver.client import AsyncClient


class Events:
    """Those of a few reasons, for downloads and services."""

    def __init__(self, api: AsyncClient, wake: Callable[[], None]) -> None:
        self.reflectors = [Reflector(api, it, EventStore(), wake) for it in resources.EVENTS]

    def look(self) -> Warnings | None:
        """None until all of them are known."""
        if not all(it.current for it in self.reflectors):
            return None
        return index_events(event for it in self.reflectors for event in it.store.objects.values())


class Downloads:
    """Jobs and their pods."""

    def __init__(self, api: AsyncClient, wake: Callable[[], None]) -> None:
        self.jobs = Reflector(api, resources.DOWNLOAD_JOBS, Store(parse_job), wake)
        self._pods = Reflector(api, resources.DOWNLOAD_PODS, Store(parse_download_pod), wake)

    @property
    def reflectors(self) -> Sequence[Reflector[Any]]:
        return (self.jobs, self._pods)

    def plan(self, warned: Warnings | None) -> list[Patch]:
        """Nothing until all of it is known: an annotation must not go because its cause was not read yet."""
        if warned is None or not all(it.current for it in self.reflectors):
            return []
        return plan_problems(self.jobs.store.objects, self._pods.store.objects.values(), warned)
