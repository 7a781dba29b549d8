"""The agent over the store: its pure decisions on what its watches have told, each patch with its preconditions."""

from __future__ import annotations

from app.agent.downloads import parse_job, plan_problems
from app.agent.heartbeat import plan_heartbeats
from app.agent.io.session import decide
from app.agent.patch import Patch, Target
from app.agent.snapshot import CachedObject, Snapshot
from tests.agent import build
from tests.net.store import BY_KIND, Store, Views
from tools.sandbox.api import ApiError

SUBRESOURCES = {Target.GPU_NODE: "status", Target.GPU_REQUEST: "status", Target.GPU_ALLOCATION: "status"}


class Agent:
    """It may be silent for a while; then nothing is bound, reported or vouched for."""

    def __init__(self, store: Store) -> None:
        self.views = Views(store)
        self.is_silent = False
        self._store = store

    def look(self) -> None:
        """All patches that are due; what has changed meanwhile is decided again at the next look."""
        if self.is_silent:
            return
        snapshot = self._see()
        for patch in decide(snapshot):
            self._send(patch, "agent")
        jobs = {fact.key: fact for fact in map(parse_job, self.views.kind("Job").all())}
        for patch in plan_problems(jobs, (), {}):
            self._send(patch, "agent")
        for patch in plan_heartbeats(snapshot, self._store.now):
            self._send(patch, "heartbeat")
        self._store.actor = "user"

    def _see(self) -> Snapshot:
        def all_of(kind: str) -> list[build.Json]:
            return sorted(self.views.kind(kind).all(), key=lambda it: CachedObject(*_identity(it)).key)

        return build.snapshot(
            pods=all_of("Pod"),
            nodes=all_of("Node"),
            gpu_nodes=all_of("GPUNode"),
            requests=all_of("GPURequest"),
            allocations=all_of("GPUAllocation"),
            pools=all_of("GPUPool"),
        )

    def _send(self, patch: Patch, actor: str) -> None:
        self._store.actor = actor
        kind, (namespace, name) = patch.target.kind, patch.key
        try:
            if patch.target is Target.EVICT:
                self._recall(patch)
            else:
                self._store.patch(
                    BY_KIND[kind],
                    name,
                    namespace or None,
                    patch.body,
                    content_type=patch.content_type,
                    subresource=SUBRESOURCES.get(patch.target),
                )
        except ApiError as error:
            if error.code not in (404, 409, 422):
                raise

    def _recall(self, patch: Patch) -> None:
        namespace, name = patch.key
        found = self._store.get(BY_KIND["Pod"], name, namespace)
        wanted = patch.body["preconditions"]
        if found and all(found["metadata"][key] == value for key, value in wanted.items()):
            assert not found["spec"].get("nodeName"), "a pod that has a node is never deleted"
            self._store.delete(BY_KIND["Pod"], name, namespace, uid=wanted["uid"])


def _identity(item: build.Json) -> tuple[str, str, str, int]:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"], metadata["uid"], int(metadata["resourceVersion"])
