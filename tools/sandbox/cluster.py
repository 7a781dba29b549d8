"""The control plane as one object: start it, use it, and it is gone.

with Cluster.start(Path("/tmp/sandbox")) as cluster:
    cluster.apply(Path("crds"))
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType

from tools.sandbox import lws as lws_module
from tools.sandbox.api import APPLY_PATCH, MERGE_PATCH, Api, ApiError, Object, read_objects
from tools.sandbox.audit import AuditEvent, read_events
from tools.sandbox.binaries import ensure_binaries
from tools.sandbox.controlplane import LOOPBACK, Network, Plan
from tools.sandbox.kubeconfig import Access
from tools.sandbox.nodes import build_node
from tools.sandbox.process import PATIENCE_SECONDS, Process

STAGES = Path(__file__).parent / "stages"
Report = Callable[[str], None]


def _silent(_: str) -> None:
    pass


class Cluster:
    """A running control plane. Objects go in and come out as plain dicts."""

    def __init__(self, plan: Plan, api: Api) -> None:
        self.api = api
        self.directory = plan.directory
        self.kubeconfig = plan.kubeconfig("admin")
        self.server = plan.server
        self.token = plan.tokens["admin"]
        self._plan = plan
        self._processes: list[Process] = []

    @classmethod
    @contextmanager
    def start(
        cls,
        directory: Path,
        *,
        nodes: int = 4,
        audit: bool = True,
        lws: bool = True,
        network: Network = LOOPBACK,
        fake: bool = True,
        report: Report = _silent,
    ) -> Iterator[Cluster]:
        """Run a control plane in `directory` (created when missing) until the block is left.

        `lws=False` leaves the LeaderWorkerSet API out, as on a cluster where it was never installed. `fake=False`
        leaves KWOK out, for a cluster of real nodes: nothing is played then, volumes included. Everything ends
        in reverse order, also after SIGTERM and, on Linux, when this process is killed.
        """
        plan = Plan.prepare(directory.absolute(), ensure_binaries(report), audit, network)
        with _exit_on_sigterm(), ExitStack() as stack:
            api = Api(plan.access("admin"))
            stack.callback(api.close)
            cluster = cls(plan, api)
            cluster._start_api(stack)
            report("kube-apiserver is ready")
            cluster._start_controllers(stack, lws, fake)
            if fake:
                cluster.add_nodes(nodes)
                report(f"{nodes} AMD nodes are ready")
            yield cluster

    # Starting

    def _run(self, stack: ExitStack, name: str, argv: list[str], grace: float = 0) -> Process:
        """Most processes are killed at the end: they hold nothing worth an orderly shutdown."""
        process = Process.start(name, argv, self.directory / f"{name}.log")
        self._own(stack, process, grace)
        return process

    def _own(self, stack: ExitStack, process: Process, grace: float) -> None:
        self._processes.append(process)
        stack.callback(process.stop, grace)

    def check(self) -> None:
        """Raise when a process of the control plane has died, with the end of its log."""
        for process in self._processes:
            process.check()

    def _start_api(self, stack: ExitStack) -> None:
        etcd = self._run(stack, "etcd", self._plan.etcd())
        apiserver = self._run(stack, "kube-apiserver", self._plan.kube_apiserver())

        def ready() -> bool:
            etcd.check()
            return self.api.ready()

        apiserver.wait_until(ready, PATIENCE_SECONDS)

    def _start_controllers(self, stack: ExitStack, lws: bool, fake: bool) -> None:
        """CRDs come before KWOK, which looks for the kinds of its stages only at its start."""
        manager = self._run(stack, "kube-controller-manager", self._plan.kube_controller_manager())
        self._run(stack, "kube-scheduler", self._plan.kube_scheduler())
        stages = sorted(STAGES.glob("*.yaml"))
        if lws:
            stages += self._install_lws(stack)
        if fake:
            self._run(stack, "kwok", self._plan.kwok(stages))
        manager.wait_until(self._has_accounts, PATIENCE_SECONDS)

    def _has_accounts(self) -> bool:
        return self.get("v1", "ServiceAccount", "default", "default") is not None

    def _install_lws(self, stack: ExitStack) -> list[Path]:
        """The real manager when $LWS_MANAGER names it; else a CRD and a stage that plays its status.

        On a cluster without fakes nobody plays it: sandbox.node.groups makes the pods there.
        """
        real = lws_module.find_manager()
        if real is None:
            self.apply(lws_module.CRDS)
            self._wait_published("leaderworkerset.x-k8s.io/v1")
            return [lws_module.STAGE]
        self.apply(real.crds())
        kubeconfig = self._plan.kubeconfig("lws")
        process = lws_module.start_manager(real, self.directory / "lws", kubeconfig)
        self._own(stack, process, grace=0)
        self.apply(real.webhooks(self.directory / "lws"))
        return []

    def _wait_published(self, api_version: str) -> None:
        """KWOK reads the OpenAPI documents once, at its start; a CRD's is published a moment after it is served."""
        path = f"apis/{api_version}"
        wait_until(lambda: path in self.api.request("GET", "/openapi/v3")["paths"], f"OpenAPI of {api_version}")

    def add_nodes(self, count: int, *, first: int = 0, prefix: str = "mi300x", gpus: int = 8) -> None:
        """Create fake nodes `<prefix>-<first>`... and wait until all are Ready."""
        self.create_nodes(build_node(index, prefix=prefix, gpus=gpus) for index in range(first, first + count))

    def create_nodes(self, nodes: Iterable[Object]) -> None:
        """Create nodes made by `build_node` and wait until all are Ready."""
        fresh = list(nodes)
        for node in fresh:
            self.api.create(self.api.resource("v1", kind="Node"), node)
        for node in fresh:
            self.wait_for("v1", "Node", node["metadata"]["name"], None, is_schedulable, describe="Ready")

    # Using

    @property
    def access(self) -> Access:
        """How the administrator reaches the API server."""
        return self._plan.access("admin")

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of one of controlplane.USERS, to tell its writes apart in the audit log."""
        return self._plan.kubeconfig(user)

    def apply(self, what: Path | Object | Iterable[Object]) -> list[Object]:
        """Apply server-side: a file, a folder, an object or several. Waits until CRDs are established."""
        objects = read_objects(what) if isinstance(what, Path) else [what] if isinstance(what, dict) else list(what)
        applied = [self._apply_one(item) for item in objects]
        for item in applied:
            if item["kind"] == "CustomResourceDefinition":
                self._wait_established(item)
        return applied

    def _apply_one(self, item: Object) -> Object:
        resource = self.api.resource(item["apiVersion"], kind=item["kind"])
        metadata = item["metadata"]
        namespace = metadata.get("namespace", "default") if resource.namespaced else None
        return self.api.patch(resource, metadata["name"], namespace, item, content_type=APPLY_PATCH)

    def _wait_established(self, crd: Object) -> None:
        name = crd["metadata"]["name"]
        self.wait_for(
            crd["apiVersion"],
            crd["kind"],
            name,
            None,
            lambda it: has_condition(it, "Established"),
            describe="Established",
        )
        for version in crd["spec"]["versions"]:
            api_version = f"{crd['spec']['group']}/{version['name']}"
            if version["served"]:
                wait_until(partial(self._serves, api_version, crd["spec"]["names"]["kind"]), f"{name} is served")

    def _serves(self, api_version: str, kind: str) -> bool:
        """Established comes a moment before the handler answers; until then it says 404 or 503."""
        resource = next((it for it in self.api._resources(api_version, fresh=True) if it.kind == kind), None)
        if resource is None:
            return False
        try:
            self.api.list(resource, limit="1")
        except ApiError as error:
            if error.code not in (404, 429, 503):
                raise
            return False
        return True

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        return self.api.get(self.api.resource(api_version, kind=kind), name, namespace)

    def list(
        self, api_version: str, kind: str, namespace: str | None = None, selector: str | None = None
    ) -> list[Object]:
        """Objects of one namespace, or of all."""
        params = {"labelSelector": selector} if selector else {}
        return self.api.list(self.api.resource(api_version, kind=kind), namespace, **params)[0]

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, propagation: str = "Background"
    ) -> None:
        self.api.delete(self.api.resource(api_version, kind=kind), name, namespace, propagation=propagation)

    def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None,
        body: object,
        *,
        subresource: str | None = None,
        content_type: str = MERGE_PATCH,
    ) -> Object:
        """A merge patch, unless another content type is given."""
        resource = self.api.resource(api_version, kind=kind)
        return self.api.patch(resource, name, namespace, body, content_type=content_type, subresource=subresource)

    def wait_for(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None,
        predicate: Callable[[Object], bool],
        timeout: float = PATIENCE_SECONDS,
        describe: str = "as expected",
    ) -> Object:
        """Poll until the object exists and satisfies `predicate`; on failure show it and its events."""
        deadline = time.monotonic() + timeout
        seen: Object | None = None
        while time.monotonic() < deadline:
            seen = self.get(api_version, kind, name, namespace)
            if seen is not None and predicate(seen):
                return seen
            self.check()
            time.sleep(0.1)
        where = f"{namespace}/{name}" if namespace else name
        raise TimeoutError(f"{kind} {where} was not {describe} within {timeout:g} s.\n{self._explain(seen, name)}")

    def wait_gone(self, api_version: str, kind: str, name: str, namespace: str | None) -> None:
        """Poll until the object does not exist."""
        wait_until(lambda: self.get(api_version, kind, name, namespace) is None, f"{kind} {name} is gone")

    def wait_allowed(self, user: str, verb: str, resource: str, namespace: str, name: str = "") -> None:
        """Poll until RBAC lets a user do this: the API server learns of roles and bindings a moment after they are
        written. `resource` is a plural with its group, as in the audit log: `jobs.batch`."""
        plural, _, group = resource.partition(".")
        asked = {"verb": verb, "resource": plural, "group": group, "namespace": namespace, "name": name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": ["system:authenticated"], "resourceAttributes": asked},
        }

        def allowed() -> bool:
            path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            return bool(self.api.request("POST", path, body=review)["status"]["allowed"])

        wait_until(allowed, f"{user} may {verb} {resource} {name}".rstrip())

    def _explain(self, seen: Object | None, name: str) -> str:
        shown = "It does not exist."
        if seen is not None:
            seen["metadata"].pop("managedFields", None)
            shown = json.dumps(seen, indent=2)
        return "\n".join([shown, "Events:", *self.events(name)])

    def events(self, name: str) -> Sequence[str]:
        """The events about objects of this name, oldest first, as lines."""
        events = [event for event in self.list("v1", "Event") if event["involvedObject"].get("name") == name]
        events.sort(key=lambda event: event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])
        return [f"  {event.get('type')} {event.get('reason')}: {event.get('message')}" for event in events]

    def audit_writes(self, since: datetime | None = None) -> Sequence[AuditEvent]:
        """All writes the API server answered since then, oldest first. Needs `audit=True`."""
        return read_events(self._plan.audit_log, since)

    @staticmethod
    def now() -> datetime:
        """A mark for `audit_writes`."""
        return datetime.now(UTC)


def has_condition(item: Object, kind: str, status: str = "True") -> bool:
    conditions = item.get("status", {}).get("conditions") or []
    return any(it["type"] == kind and it["status"] == status for it in conditions)


def is_schedulable(node: Object) -> bool:
    """Ready, and the taint of a node that is not has been taken off by the controller manager."""
    return has_condition(node, "Ready") and not node["spec"].get("taints")


def wait_until(condition: Callable[[], bool], describe: str, timeout: float = PATIENCE_SECONDS) -> None:
    """Poll until `condition` is true; `describe` completes "waited for ..."."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for: {describe}")
        time.sleep(0.1)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that context managers stop what they started."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
