"""What a golden scenario says: do this, wait until the hooks answer that, keep the request.

A scenario is a function that plays a story on a real control plane and names the moments that become cases:

    @scenario()
    def lost_claim(scene: Scene) -> None:
        scene.apply(cache())
        scene.keep("modelcache/demo", "ready", phase("Ready"))
        scene.lose_volume("demo-cache")
        scene.keep("modelcache/demo", "lost", says("has lost its volume"))

`keep` waits for the first request about an object, after the one that was kept last, whose answer is as it is told.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.contracts.download import REPORT_ANNOTATION, DownloadReport, to_annotation
from tests.cluster.world import API, World
from tests.golden.plain import Plain, gist
from tests.golden.replay import answer, answer_other, settings_with
from tools.sandbox.api import ApiError, Object
from tools.sandbox.cluster import wait_until
from tools.sandbox.operator import DEFAULT_POOL

Request = dict[str, Any]
Answer = dict[str, Any]
Wanted = Callable[[Request, Answer], bool]

PATIENCE_SECONDS = 90
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
REQUESTS = f"GPURequest.{API}"
META = "metacontroller.k8s.io/v1alpha1"


@dataclass(frozen=True)
class Scenario:
    """A story and where it is played."""

    name: str
    play: Callable[[Scene], None]
    settings: Mapping[str, str]
    """Of the hook service, by the names of Settings' fields."""
    nodes: tuple[Object, ...] | None
    """None: four nodes of eight MI300X."""
    alone: bool
    """On a cluster of its own."""
    namespace: str


SCENARIOS: list[Scenario] = []


def scenario(
    *,
    settings: Mapping[str, str] | None = None,
    nodes: Iterable[Object] | None = None,
    alone: bool = False,
    namespace: str = "",
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Register a story under its function's name; that names the folder of its cases, and its namespace."""

    def register(play: Callable[[Scene], None]) -> Callable[[Scene], None]:
        name = play.__name__.replace("_", "-")
        assert name not in {it.name for it in SCENARIOS}, f"there are two scenarios {name}"
        places = None if nodes is None else tuple(nodes)
        SCENARIOS.append(Scenario(name, play, dict(settings or {}), places, alone, namespace or name))
        return play

    return register


# what an answer must be like


def always(_: Request, __: Answer) -> bool:
    return True


def says(*texts: str) -> Wanted:
    """The answer holds each of these texts, in whatever status or child."""
    return lambda _, answer: all(it in json.dumps(answer, ensure_ascii=False) for it in texts)


def lacks(text: str) -> Wanted:
    return lambda _, answer: text not in json.dumps(answer, ensure_ascii=False)


def phase(name: str) -> Wanted:
    return lambda _, answer: (answer.get("status") or {}).get("phase") == name


def told(condition: str, status: str, text: str = "") -> Wanted:
    """A condition of the answer has a status, and its reason or message holds the text."""

    def holds(_: Request, answer: Answer) -> bool:
        for it in (answer.get("status") or {}).get("conditions", []):
            if it["type"] == condition:
                return bool(it["status"] == status and text in f"{it['reason']} {it['message']}")
        return False

    return holds


def asked(predicate: Callable[[Request], bool]) -> Wanted:
    """Of the request itself."""
    return lambda request, _: predicate(request)


def leaving(request: Request, _: Answer) -> bool:
    return "deletionTimestamp" in request["parent"]["metadata"]


@dataclass
class Scene:
    """One scenario at play."""

    story: Scenario
    world: World
    record: Path
    """Where the hook service writes requests."""
    into: Path
    """Where cases go."""
    since: int
    """Number of the last request before the scenario began."""
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    settings: Mapping[str, str] = field(default_factory=dict)
    """Those that the hook service has now, where they differ."""
    kept: list[Path] = field(default_factory=list)
    others: list[World] = field(default_factory=list)
    _last: dict[str, int] = field(default_factory=dict)
    _gists: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._plain = Plain(self.begun)
        self.settings = self.story.settings

    # keeping

    def keep(
        self,
        what: str,
        case: str,
        *wanted: Wanted,
        folder: str = "",
        hook: str = "sync",
        patience: float = PATIENCE_SECONDS,
    ) -> Request:
        """Wait for the request about `what` (kind/name) whose answer is as wanted, and make it a case."""
        kind, _, name = what.partition("/")
        folder = folder or self.story.name
        path = self.into / kind / folder / f"{self._number(kind, folder):02}-{case}.request.json"
        if hook != "sync":
            path = path.with_name(path.name.replace(".request.", f".{hook}-request."))
        deadline, shown = time.monotonic() + patience, "none came"
        while True:
            for number, found in self._requests(kind, name, hook):
                request: Request = json.loads(found.read_text())
                said = self._answer(kind, request, hook)
                if all(it(request, said) for it in wanted):
                    self._last[f"{hook} {what}"] = number
                    self._write(path, kind, folder, request)
                    return request
                shown = short(said)
            if time.monotonic() > deadline:
                raise TimeoutError(f"no request about {what} is as {case} wants it; the last answer: {shown}")
            time.sleep(0.2)

    def see(self, what: str, *wanted: Wanted) -> None:
        """Wait for such a request without keeping it."""
        kind, _, name = what.partition("/")
        deadline, shown = time.monotonic() + PATIENCE_SECONDS, "none came"
        while time.monotonic() < deadline:
            for number, found in self._requests(kind, name, "sync"):
                request = json.loads(found.read_text())
                said = self._answer(kind, request, "sync")
                shown = short(said)
                if all(it(request, said) for it in wanted):
                    self._last[f"sync {what}"] = number
                    return
            time.sleep(0.2)
        raise TimeoutError(f"no request about {what} is as wanted; the last answer: {shown}")

    def _number(self, kind: str, folder: str) -> int:
        return self._counts.get(f"{kind}/{folder}", 0) + 1

    def _answer(self, kind: str, request: Request, hook: str) -> Answer:
        if hook != "sync":
            return answer_other(kind, hook, request)
        return answer(kind, request, settings_with(self.settings))

    def _requests(self, kind: str, name: str, hook: str) -> list[tuple[int, Path]]:
        """Those not looked past yet, oldest first."""
        place = name if kind in ("gpupool", "gpunode") else f"{self.world.namespace}.{name}"
        last = max(self._last.get(f"{hook} {kind}/{name}", 0), self.since)
        suffix = "json" if hook == "sync" else f"{hook}.json"
        found = [(int(it.name.partition(".")[0]), it) for it in (self.record / kind / place).glob("*.json")]
        return sorted((number, it) for number, it in found if number > last and it.name.partition(".")[2] == suffix)

    def _write(self, path: Path, kind: str, folder: str, request: Request) -> None:
        text = self._plain.text(request)
        if self._gists.get(f"{kind}/{folder}") == gist(text):
            print(f"  {path.name} is as the one before, and not kept", flush=True)
            return
        self._gists[f"{kind}/{folder}"] = gist(text)
        self._counts[f"{kind}/{folder}"] = self._number(kind, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if self.settings:
            settings = json.dumps(dict(self.settings), indent=1, sort_keys=True)
            (path.parent / "settings.json").write_text(settings + "\n")
        self.kept.append(path)
        print(f"  {path.relative_to(self.into)}", flush=True)

    # doing

    def apply(self, *objects: Object) -> None:
        for it in objects:
            self.world.apply(it)

    def edit(self, what: str, spec: Object) -> None:
        """Merge into the spec of an object of ours."""
        self._patch(what, {"spec": spec})

    def annotate(self, what: str, **annotations: str | None) -> None:
        """Underscores are dots, two are a slash: inference_ai__refresh."""
        named = {key.replace("__", "/").replace("_", "."): it for key, it in annotations.items()}
        self._patch(what, {"metadata": {"annotations": named}})

    def touch(self, what: str, seconds: float = 0) -> None:
        """Nothing but a sync. The newest time in a request is the clock of its replay: it is so much later."""
        self.annotate(what, example_com__touched=f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}")

    def delete(self, what: str, propagation: str = "Background") -> None:
        api, kind, name, namespace = self._named(what)
        self.world.cluster.delete(api, kind, name, namespace, propagation=propagation)

    def patch(self, what: str, body: Object, *, status: bool = False, content_type: str = "") -> None:
        api, kind, name, namespace = self._named(what)
        more = {"content_type": content_type} if content_type else {}
        self.world.cluster.patch(api, kind, name, namespace, body, subresource="status" if status else None, **more)

    def _patch(self, what: str, body: Object) -> None:
        self.patch(what, body)

    def _named(self, what: str) -> tuple[str, str, str, str | None]:
        kind, _, name = what.partition("/")
        api, proper = KINDS[kind.lower()]
        return api, proper, name, None if kind.lower() in ("gpupool", "gpunode", "node") else self.world.namespace

    def wait(self, what: str, predicate: Callable[[Object], bool] = lambda _: True) -> Object:
        """Until the object is there and so."""
        api, kind, name, namespace = self._named(what)
        return self.world.cluster.wait_for(api, kind, name, namespace, predicate, PATIENCE_SECONDS)

    def neighbour(self, name: str, **labels: str) -> World:
        """Another namespace."""
        other = World(self.world.operator, name)
        other.create_namespace(name)
        if labels:
            self.world.cluster.patch("v1", "Namespace", name, None, {"metadata": {"labels": labels}})
        self.others.append(other)
        return other

    @contextmanager
    def finalizing(self, kind: str) -> Iterator[None]:
        """The controller of a kind has the finalize hook meanwhile, which those of metacontroller/ leave out."""
        cluster, name = self.world.cluster, kind
        found = cluster.get(META, "CompositeController", name)
        assert found is not None
        sync = found["spec"]["hooks"]["sync"]
        finalize = json.loads(json.dumps(sync).replace(f"/sync/{kind}", f"/finalize/{kind}"))
        cluster.patch(META, "CompositeController", name, None, {"spec": {"hooks": {"finalize": finalize}}})
        try:
            yield
        finally:
            cluster.patch(META, "CompositeController", name, None, {"spec": {"hooks": {"finalize": None}}})

    # downloads: where there are no nodes, pods are as the scenario says

    def job(self, cache: str = "") -> str:
        """Name of the one Job that is not over, of a cache."""
        found: list[str] = []

        def one() -> bool:
            jobs = self.world.all_of("batch/v1", "Job")
            found[:] = [it["metadata"]["name"] for it in jobs if not is_over(it)]
            found[:] = [it for it in found if it.startswith(f"{cache}-" if cache else "")]
            return bool(found)

        wait_until(one, "a Job is at work", PATIENCE_SECONDS)
        return found[0]

    def report(self, job: str, said: DownloadReport) -> None:
        """As the downloader writes it."""
        body = {"metadata": {"annotations": {REPORT_ANNOTATION: to_annotation(said)}}}
        self.patch(f"job/{job}", body)

    def pod_of(self, job: str) -> str:
        """Name of its pod that has not ended."""
        found: list[str] = []

        def one() -> bool:
            pods = self.world.cluster.list("v1", "Pod", self.world.namespace, f"batch.kubernetes.io/job-name={job}")
            at_work = [it for it in pods if it["status"].get("phase") not in ("Failed", "Succeeded")]
            found[:] = [it["metadata"]["name"] for it in at_work if "deletionTimestamp" not in it["metadata"]]
            return bool(found)

        wait_until(one, f"a pod of {job}", PATIENCE_SECONDS)
        return found[0]

    def run(self, job: str) -> None:
        """Its pod runs."""
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": now()}
        self.patch(f"pod/{self.pod_of(job)}", {"status": {"phase": "Running", "conditions": [ready]}}, status=True)

    def end(self, job: str, code: int = 0) -> None:
        """Its pod ends with this code."""
        pod = self.wait(f"pod/{self.pod_of(job)}")
        ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "finishedAt": now()}
        container = pod["spec"]["containers"][0]
        status = {
            "name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0, "ready": False,
            "state": {"terminated": ended},
        }  # fmt: skip
        phase_now = "Succeeded" if code == 0 else "Failed"
        self.patch(
            f"pod/{pod['metadata']['name']}",
            {"status": {"phase": phase_now, "containerStatuses": [status], "conditions": []}},
            status=True,
        )

    def lose_volume(self, claim: str) -> None:
        """What Kubernetes says of a claim whose volume was deleted."""
        bound = self.wait(f"persistentvolumeclaim/{claim}", lambda it: it["status"].get("phase") == "Bound")
        name = bound["spec"]["volumeName"]
        self.world.cluster.patch("v1", "PersistentVolume", name, None, {"metadata": {"finalizers": None}})
        self.world.cluster.delete("v1", "PersistentVolume", name)
        with suppress(ApiError):  # it went at once
            self.world.cluster.patch("v1", "PersistentVolume", name, None, {"metadata": {"finalizers": None}})

    def event(self, what: str, reason: str, message: str) -> None:
        """What kubelet or a controller tells of an object."""
        about = self.wait(what)
        involved = {
            "apiVersion": about["apiVersion"], "kind": about["kind"], "name": about["metadata"]["name"],
            "namespace": self.world.namespace, "uid": about["metadata"]["uid"],
        }  # fmt: skip
        self.apply({
            "apiVersion": "v1", "kind": "Event", "type": "Warning",
            "metadata": {"name": f"{about['metadata']['name']}.{reason.lower()}"},
            "involvedObject": involved, "reason": reason, "message": message,
            "firstTimestamp": now(), "lastTimestamp": now(), "count": 1, "source": {"component": "kubelet"},
        })  # fmt: skip

    # nodes and pools

    def node(self, name: str, body: Object, *, status: bool = False) -> None:
        """Patch a Node; lists of its status are merged."""
        self.world.cluster.patch(
            "v1", "Node", name, None, body,
            subresource="status" if status else None, content_type=STRATEGIC_PATCH,
        )  # fmt: skip

    def fail_node(self, name: str, minutes: int = 0) -> None:
        """Its kubelet falls silent; so many minutes ago."""
        self.node(name, {"metadata": {"annotations": {"sandbox.inference.ai/fail": "true"}}})
        self.wait(f"gpunode/{name}", lambda it: "notReadySince" in it["spec"])
        if minutes:
            moment = f"{datetime.now(UTC) - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"
            ready = {"type": "Ready", "status": "False", "lastTransitionTime": moment}
            self.node(name, {"status": {"conditions": [ready]}}, status=True)

    def pool(self, name: str = "default", **spec: Any) -> None:
        """Make a pool, or change one."""
        self.world.cluster.apply({"apiVersion": API, "kind": "GPUPool", "metadata": {"name": name}, "spec": spec})

    def stored(self, plural: str, kind: str, change: Callable[[], None]) -> None:
        """Do something that today's CRD refuses: as it was stored under an earlier one. Rules and bounds are off
        meanwhile."""
        name = f"{plural}.{API.partition('/')[0]}"
        crd = self.world.cluster.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
        assert crd is not None
        loose = json.loads(json.dumps(crd["spec"]["versions"]))
        for version in loose:
            spec = version["schema"]["openAPIV3Schema"]["properties"]
            spec["spec"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            version["schema"]["openAPIV3Schema"].pop("x-kubernetes-validations", None)
        api = "apiextensions.k8s.io/v1"
        self.world.cluster.patch(api, "CustomResourceDefinition", name, None, {"spec": {"versions": loose}})
        try:
            wait_until(lambda: self._tried(change), f"a {kind} may be so", PATIENCE_SECONDS)
        finally:
            versions = {"spec": {"versions": crd["spec"]["versions"]}}
            self.world.cluster.patch(api, "CustomResourceDefinition", name, None, versions)
            wait_until(lambda: self._tried(lambda: self.world.all_of(API, kind)), f"{kind}s are served again")

    @staticmethod
    def _tried(change: Callable[[], object]) -> bool:
        try:
            change()
        except ApiError:
            return False
        return True


KINDS: Mapping[str, tuple[str, str]] = {
    "modelcache": (API, "ModelCache"),
    "inferenceservice": (API, "InferenceService"),
    "inferenceendpoint": (API, "InferenceEndpoint"),
    "gpupool": (API, "GPUPool"),
    "gpunode": (API, "GPUNode"),
    "gpurequest": (API, "GPURequest"),
    "gpuallocation": (API, "GPUAllocation"),
    "job": ("batch/v1", "Job"),
    "pod": ("v1", "Pod"),
    "node": ("v1", "Node"),
    "service": ("v1", "Service"),
    "secret": ("v1", "Secret"),
    "persistentvolumeclaim": ("v1", "PersistentVolumeClaim"),
    "deployment": ("apps/v1", "Deployment"),
    "leaderworkerset": ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"),
    "ingress": ("networking.k8s.io/v1", "Ingress"),
}


def reset(world: World, nodes: Iterable[Object] | None, build: Callable[[], Iterable[Object]]) -> None:
    """The cluster as every scenario finds it: nodes, and the default pool as it is installed."""
    cluster = world.cluster
    wanted = list(build() if nodes is None else nodes)
    for it in cluster.list("v1", "Node"):
        cluster.delete("v1", "Node", it["metadata"]["name"])
    wait_until(lambda: not cluster.list("v1", "Node") and not cluster.list(API, "GPUNode"), "the nodes are gone")
    for it in cluster.list(API, "GPUPool"):
        cluster.delete(API, "GPUPool", it["metadata"]["name"])
    wait_until(lambda: not cluster.list(API, "GPUPool"), "the pools are gone")
    cluster.create_nodes(json.loads(json.dumps(wanted)))
    cluster.apply(DEFAULT_POOL)


def is_over(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions") or []
    return any(it["type"] in ("Complete", "Failed") and it["status"] == "True" for it in conditions)


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def short(answer: Answer) -> str:
    """The conditions of an answer, to see why none was as wanted."""
    status = answer.get("status") or {}
    lines = [f"phase {status.get('phase')}"]
    lines += [f"{it['type']}={it['status']} {it['reason']}: {it['message']}" for it in status.get("conditions", [])]
    return "\n    ".join(lines)
